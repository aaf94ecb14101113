/** Starting compiled programs and reading from /proc what they cost. Linux only. */
import { readdirSync, readFileSync } from "node:fs";

const READY_LIMIT_MS = 30_000;
/** Clock ticks a second of /proc/PID/stat; 100 on every Linux that Bun runs on (getconf CLK_TCK). */
const TICKS = 100;

export interface Program {
  pid: number;
  /** The JSON line that it printed when it was ready. */
  ready: Record<string, any>;
  /** From just before the start of the process until the line had been read. */
  readyMs: number;
  /** SIGTERM, then SIGKILL after 5 s. */
  stop(): Promise<void>;
}

/** Starts a program and waits for its line `{"ready":true,…}` on stdout. */
export async function startProgram(
  command: string[],
  options: { env?: Record<string, string>; cwd?: string } = {},
): Promise<Program> {
  const started = performance.now();
  const child = Bun.spawn(command, {
    env: { ...process.env, ...options.env },
    ...(options.cwd && { cwd: options.cwd }),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const stderr = drain(child.stderr);
  const limit = setTimeout(() => child.kill("SIGKILL"), READY_LIMIT_MS);
  const ready = await readyLine(child.stdout);
  clearTimeout(limit);
  const readyMs = performance.now() - started;
  if (!ready) {
    child.kill("SIGKILL");
    throw new Error(`"${command.join(" ")}" printed no ready line (exit ${await child.exited}): ${stderr()}`);
  }
  return { pid: child.pid, ready, readyMs, stop: () => stop(child) };
}

async function stop(child: Bun.Subprocess): Promise<void> {
  child.kill("SIGTERM");
  const limit = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await child.exited;
  clearTimeout(limit);
}

/** Runs a command to its end; throws with its output when it fails. */
export async function runProgram(command: string[], env: Record<string, string> = {}): Promise<string> {
  const child = Bun.spawn(command, {
    env: { ...process.env, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) !== 0)
    throw new Error(`"${command.join(" ")}" failed (${child.exitCode}): ${out}${err}`);
  return out;
}

async function readyLine(stream: ReadableStream<Uint8Array>): Promise<Record<string, any> | undefined> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return undefined;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const parsed = parseObject(line);
      if (parsed?.ready !== true) continue;
      void discard(reader);
      return parsed;
    }
  }
}

function parseObject(line: string): Record<string, any> | undefined {
  try {
    return line.startsWith("{") ? (JSON.parse(line) as Record<string, any>) : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps reading, so that the program never waits for a full pipe. */
async function discard(reader: { read(): Promise<{ done: boolean }> }): Promise<void> {
  while (!(await reader.read()).done);
}

function drain(stream: ReadableStream<Uint8Array>): () => string {
  let text = "";
  void (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of stream)
      text = (text + decoder.decode(chunk, { stream: true })).slice(-64 * 1024);
  })().catch(() => {});
  return () => text;
}

/** Proportional set size in MB: private pages, and its share of pages that others map too. */
export function pssMb(pid: number): number {
  const kb = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8").match(/^Pss:\s+(\d+) kB/m)?.[1];
  if (kb === undefined) throw new Error(`/proc/${pid}/smaps_rollup has no Pss line`);
  return Number(kb) / 1024;
}

/** User and system time of a process so far, all threads, in seconds. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name in parentheses may hold spaces; utime and stime are fields 14 and 15 (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/**
 * Processor time over a while as a share of one core, in percent. Ticks are 10 ms: over 20 s the figure is good to
 * 0.05 %. Where the kernel accounts in nanoseconds (/proc/PID/schedstat), summed over the threads, that is used.
 */
export async function cpuPercent(pid: number, overMs: number): Promise<number> {
  const from = exactCpuMs(pid);
  const started = performance.now();
  await Bun.sleep(overMs);
  return ((exactCpuMs(pid) - from) / (performance.now() - started)) * 100;
}

function exactCpuMs(pid: number): number {
  try {
    let nanoseconds = 0;
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    }
    return nanoseconds / 1e6;
  } catch {
    return cpuSeconds(pid) * 1000;
  }
}

/** Processes whose parent is `pid`. */
export function childrenOf(pid: number): number[] {
  const path = `/proc/${pid}/task/${pid}/children`;
  return readFileSync(path, "utf8").trim().split(" ").filter(Boolean).map(Number);
}
