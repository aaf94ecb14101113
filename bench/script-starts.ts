/** How long a confined script takes from its start to its end, beside a bare spawn and beside bwrap. */
import { closeSync } from "node:fs";
import type { Launcher } from "../src/agent/workers/launch.ts";
import type { Grant } from "../src/model/grant.ts";
import { SYSTEM_PATHS } from "../src/model/permissions.ts";
import { BENCH_GRANT } from "./confined.ts";
import { type BenchContext, type Figure, type Goal, median, timed } from "./frame.ts";

const ROUNDS = 30;
const BETWEEN_SCRIPTS_MS = 40;
const SCRIPT_GRANT: Grant = { ...BENCH_GRANT, read: [SYSTEM_PATHS], exec: [SYSTEM_PATHS] };

/** Figures of a sandbox that is not there would be good ones. */
export async function requireConfined(launcher: Launcher): Promise<void> {
  const said = await runScript(launcher, ["/bin/cat", "/proc/self/status"]);
  if (!/^NoNewPrivs:\s+1$/m.test(said) || !/^Seccomp:\s+2$/m.test(said))
    throw new Error(`the script was not confined: ${said}`);
}

/** `ahead` has a launcher waiting, as an agent has after a script; `alone` has none. */
export async function scriptStarts(
  context: BenchContext,
  ahead: Launcher,
  alone: Launcher,
): Promise<Figure[]> {
  const bwrap = Bun.which("bwrap");
  const wrapped = ["--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--die-with-parent", "/bin/true"];
  const ways: Record<string, () => Promise<unknown>> = {
    plain: () => Bun.spawn(["/bin/true"]).exited,
    ahead: () => runScript(ahead, ["/bin/true"]),
    alone: () => runScript(alone, ["/bin/true"]),
    ...(bwrap ? { bwrap: () => Bun.spawn([bwrap, ...wrapped]).exited } : {}),
  };
  const times: Record<string, number[]> = {};
  for (let round = 0; round < ROUNDS; round++) {
    for (const [way, run] of Object.entries(ways)) {
      (times[way] ??= []).push(await timed(run));
      // What one starts for the next is not to run beside the next.
      await Bun.sleep(BETWEEN_SCRIPTS_MS);
    }
  }
  context.progress(
    `${ROUNDS} confined scripts, ${BETWEEN_SCRIPTS_MS} ms apart${bwrap ? ", beside bwrap" : "; bwrap is not installed: nothing beside it"}`,
  );
  const baseline = { name: "plain spawn", value: median(times.plain!) };
  const figure = (name: string, way: string, goal?: Goal): Figure => ({
    name,
    value: median(times[way]!),
    unit: "ms",
    baseline,
    ...(goal ? { goal } : {}),
  });
  return [
    figure("script, from its start to its end", "ahead", { kind: "over baseline at most", value: 8 }),
    figure("the first script in a minute", "alone"),
    ...(bwrap ? [figure("the same by bwrap --unshare-all", "bwrap")] : []),
  ];
}

/** Its output, when everything of it is gone. */
async function runScript(launcher: Launcher, command: string[]): Promise<string> {
  const launched = await launcher.launch({
    kind: "script",
    command,
    grant: SCRIPT_GRANT,
    label: "bench",
    code: [],
    env: {},
    stdin: "ignore",
  });
  const output = Promise.all([new Response(launched.stdout).text(), new Response(launched.stderr).text()]);
  const { code, verdict } = await launched.exited;
  const said = (await output).join("");
  closeSync(launched.channelFd);
  if (code !== 0) throw new Error(`the confined script ended with ${verdict.text}: ${said}`);
  return said;
}
