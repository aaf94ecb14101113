import { ROOT } from "./executable.ts";

export interface CommandOptions {
  cwd?: string;
  /** Keeps the output back unless the command fails. */
  quiet?: boolean;
}

/** Runs a command of node_modules/.bin or the host, and throws with its output when it fails. */
export async function runCommand(command: string[], options: CommandOptions = {}): Promise<void> {
  const child = Bun.spawn(command, {
    cwd: options.cwd ?? ROOT,
    env: commandEnvironment(),
    stdin: "ignore",
    stdout: options.quiet ? "pipe" : "inherit",
    stderr: options.quiet ? "pipe" : "inherit",
  });
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), child.exited]);
  if (code !== 0)
    throw new Error(`"${command.join(" ")}" failed with exit code ${code}\n${out}${err}`.trimEnd());
}

/** The environment with node_modules/.bin first, also when a script was not started through npm. */
export function commandEnvironment(): Record<string, string | undefined> {
  return { ...process.env, PATH: `${ROOT}/node_modules/.bin:${process.env.PATH ?? ""}` };
}

async function text(stream: ReadableStream<Uint8Array> | undefined): Promise<string> {
  return stream ? await new Response(stream).text() : "";
}

/** Runs a script's main part; what it throws becomes one message and exit code 1. */
export async function runScript(name: string, main: () => Promise<number | void>): Promise<void> {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
