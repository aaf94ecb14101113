/** Drives the compiled executable as the real processes that an operator would start. */
import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withFileLock } from "./file-lock.ts";

const ROOT = join(import.meta.dir, "../..");
const SOURCES = ["src", "plugins", "package.json", "bun.lock", "tsconfig.json", "scripts/executable.ts"];
const KEPT_OUTPUT = 1024 * 1024;

/** A running `holdfast` process. */
export interface Holdfast {
  readonly pid: number;
  /** The JSON line `{"ready":true,…}`. */
  readonly ready: Record<string, any>;
  /** Resolves to the exit code, or to the signal's name. */
  readonly exited: Promise<number | string>;
  /** What was printed so far, at most the last megabyte. */
  stdout(): string;
  stderr(): string;
  /** kill -9, then waits until the process is gone. Does nothing for one that has ended. */
  kill(): Promise<void>;
  /** Asks to end (SIGTERM), waits, and gives the exit code; after `timeoutMs` it is killed and this throws. */
  stop(timeoutMs?: number): Promise<number | string>;
}

export interface Finished {
  exitCode: number | string;
  stdout: string;
  stderr: string;
}

/**
 * Path of dist/holdfast, built when it is missing or older than the sources. Test files that run at the same time
 * build it once. HOLDFAST_TEST_EXECUTABLE names another one to test.
 */
export async function buildExecutable(): Promise<string> {
  const given = process.env.HOLDFAST_TEST_EXECUTABLE;
  if (given) return given;
  const path = join(ROOT, "dist/holdfast");
  await withFileLock(join(ROOT, "dist/.test-build.lock"), async () => {
    if (await isNewerThanSources(path)) return;
    const build = Bun.spawn([process.execPath, "scripts/build.ts"], {
      cwd: ROOT,
      stdout: "pipe",
      stderr: "pipe",
    });
    const output = await Promise.all([new Response(build.stdout).text(), new Response(build.stderr).text()]);
    if ((await build.exited) !== 0) throw new Error(`the executable does not build:\n${output.join("")}`);
  });
  return path;
}

async function isNewerThanSources(path: string): Promise<boolean> {
  const built = Bun.file(path);
  if (!(await built.exists())) return false;
  for (const source of SOURCES) {
    const names = source.includes(".") ? [source] : new Bun.Glob(`${source}/**/*`).scanSync({ cwd: ROOT });
    for (const name of names) {
      if (name.endsWith(".test.ts")) continue;
      if (Bun.file(join(ROOT, name)).lastModified >= built.lastModified) return false;
    }
  }
  return true;
}

/** Runs a command to its end. */
export async function runHoldfast(
  executable: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<Finished> {
  const child = spawn(executable, args, env);
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    exitOf(child),
  ]);
  return { exitCode, stdout, stderr };
}

/** Starts a long-running command (with `--json`) and waits for its ready line; throws with its output if none comes. */
export async function startHoldfast(
  executable: string,
  args: string[],
  env: Record<string, string> = {},
  timeoutMs = 30_000,
): Promise<Holdfast> {
  const child = spawn(executable, args, env);
  const stdout = keepTail(child.stdout);
  const stderr = keepTail(child.stderr);
  const exited = exitOf(child);
  const kill = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  const said = () => `stdout:\n${stdout()}\nstderr:\n${stderr()}`;
  let ended: number | string | undefined;
  void exited.then((code) => (ended = code));
  let ready: Record<string, any> | undefined;
  try {
    await until(
      `"holdfast ${args.join(" ")}" to print its ready line`,
      () => (ready = readyLine(stdout())) !== undefined || ended !== undefined,
      timeoutMs,
    );
  } catch (error) {
    await kill();
    throw new Error(`${(error as Error).message}\n${said()}`);
  }
  if (!ready)
    throw new Error(`"holdfast ${args.join(" ")}" ended with ${ended} before it was ready\n${said()}`);
  return { pid: child.pid, ready, exited, stdout, stderr, kill, stop: (ms) => stop(child, exited, said, ms) };
}

function readyLine(output: string): Record<string, any> | undefined {
  for (const line of output.split("\n").slice(0, -1)) {
    if (!line.startsWith("{")) continue;
    try {
      const value = JSON.parse(line) as Record<string, any>;
      if (value.ready === true) return value;
    } catch {
      // A log line, or one of which the beginning is no longer kept.
    }
  }
  return undefined;
}

type Child = Bun.Subprocess<"ignore", "pipe", "pipe">;

async function stop(child: Child, exited: Promise<number | string>, said: () => string, timeoutMs = 15_000) {
  child.kill("SIGTERM");
  const late = new Promise<"late">((resolve) => setTimeout(resolve, timeoutMs, "late").unref());
  const code = await Promise.race([exited, late]);
  if (code !== "late") return code;
  child.kill("SIGKILL");
  throw new Error(`process ${child.pid} did not end within ${timeoutMs} ms of SIGTERM\n${said()}`);
}

function spawn(executable: string, args: string[], env: Record<string, string>): Child {
  const child = Bun.spawn([executable, ...args], {
    env: { ...environment(), ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  leftovers.children.add(child);
  void child.exited.then(() => leftovers.children.delete(child));
  return child;
}

/** The test's environment without settings of a Holdfast or a Bun that the developer may have. */
function environment(): Record<string, string> {
  const entries = Object.entries(process.env).filter(([name]) => !/^(HOLDFAST|BUN)_/.test(name));
  return { ...Object.fromEntries(entries as [string, string][]), NO_COLOR: "1" };
}

async function exitOf(child: Child): Promise<number | string> {
  await child.exited;
  return child.exitCode ?? child.signalCode ?? "unknown";
}

function keepTail(stream: ReadableStream<Uint8Array>): () => string {
  let text = "";
  void (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of stream)
      text = (text + decoder.decode(chunk, { stream: true })).slice(-KEPT_OUTPUT);
  })().catch(() => {});
  return () => text;
}

/** Waits until the condition holds, looking every 10 ms; throws after `timeoutMs`, naming what it waited for. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 30_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms for ${what}`);
    await Bun.sleep(10);
  }
}

/** A loopback port that was free a moment ago; for programs that must be given one that stays the same over restarts. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A fresh folder that is removed when the tests end, after what was started and still runs is killed. */
export function temporaryHome(): string {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-e2e-"));
  leftovers.folders.add(folder);
  return folder;
}

const leftovers = { children: new Set<Child>(), folders: new Set<string>() };

function clearUp(): void {
  for (const child of leftovers.children) child.kill("SIGKILL");
  if (process.env.HOLDFAST_KEEP_HOMES) return;
  for (const folder of leftovers.folders) rmSync(folder, { recursive: true, force: true });
  leftovers.folders.clear();
}

// `bun test` ends without an exit event, and a script has no afterAll. With each file isolated, as npm test does, this
// runs at the end of each file that imports the harness.
try {
  afterAll(clearUp);
} catch {
  process.on("exit", clearUp);
}
