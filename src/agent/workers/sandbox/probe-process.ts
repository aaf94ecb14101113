import type { KernelFacts } from "./kernel-facts.ts";

/** The probe gives up by itself before that. */
const LIMIT_MS = 90_000;

/**
 * `probeKernel` in a process of its own. What probing loads would stay in memory for good, of which an agent without work needs
 * nothing. Where that process fails, this one probes by itself.
 */
export async function probeInProcess(command: string[]): Promise<KernelFacts> {
  try {
    const child = Bun.spawn([...command, "__probe"], {
      cwd: "/",
      env: probeEnvironment(process.env),
      stdin: "ignore",
      stderr: "ignore",
      timeout: LIMIT_MS,
      killSignal: "SIGKILL",
    });
    const [said, code] = await Promise.all([child.stdout.text(), child.exited]);
    if (code === 0) return JSON.parse(said) as KernelFacts;
  } catch {
    // It cannot be started, or what it said was cut off.
  }
  const { probeKernel } = await import("./probe.ts");
  return await probeKernel(command);
}

/** `holdfast __probe`: prints what this host's kernel offers, for `probeInProcess`. */
export async function printKernelFacts(): Promise<void> {
  const [{ probeKernel }, { selfCommand }] = await Promise.all([
    import("./probe.ts"),
    import("../self-command.ts"),
  ]);
  process.stdout.write(JSON.stringify(await probeKernel(selfCommand().command)));
}

/** A folder for its files, and nothing else that could make it another program. */
function probeEnvironment({ TMPDIR, HOME }: NodeJS.ProcessEnv): Record<string, string> {
  return {
    PATH: "/usr/bin:/bin:/usr/sbin:/sbin",
    ...(HOME === undefined ? {} : { HOME }),
    ...(TMPDIR === undefined ? {} : { TMPDIR }),
  };
}
