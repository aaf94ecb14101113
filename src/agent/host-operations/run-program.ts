import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";

/** stdout and stderr together hold no more than this; the program runs on when it says more. */
export const MAX_OUTPUT_BYTES = 1024 * 1024;
/** Between SIGTERM and SIGKILL of a program that takes too long. */
const GRACE_MS = 5_000;
/** For what lies in the pipes when the program is gone: a daemon that it started may hold them open for ever. */
const TAIL_MS = 500;

/** The whole environment: nothing of ours, and nothing that pages, colours or asks. */
const ENVIRONMENT: Record<string, string> = {
  PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  LANG: "C.UTF-8",
  LC_ALL: "C.UTF-8",
  TERM: "dumb",
  DEBIAN_FRONTEND: "noninteractive",
  NEEDRESTART_MODE: "l",
  SYSTEMD_PAGER: "",
  SYSTEMD_COLORS: "0",
};

export interface ProgramResult {
  stdout: string;
  /** Something did not fit and is missing. */
  cut: boolean;
}

/** Runs a program by its argument list and gives what it printed. Throws `timed_out`, or `failed` with what it said. */
export async function runProgram(
  argv: [string, ...string[]],
  options: { timeoutMs: number; clock: Clock },
): Promise<ProgramResult> {
  const { timeoutMs, clock } = options;
  const child = spawn(argv);
  const tail = new AbortController();
  const stdout = collect(child.stdout, tail.signal);
  const stderr = collect(child.stderr, tail.signal);
  let timedOut = false;
  let cancelKill = () => {};
  const cancel = clock.after(timeoutMs, () => {
    timedOut = true;
    signalGroup(child.pid, "SIGTERM");
    cancelKill = clock.after(GRACE_MS, () => signalGroup(child.pid, "SIGKILL"));
  });
  await child.exited;
  cancel();
  cancelKill();
  const cancelTail = clock.after(TAIL_MS, () => tail.abort());
  const [said, complained] = await Promise.all([stdout, stderr]);
  cancelTail();
  const name = argv.slice(0, 2).join(" ");
  if (timedOut) {
    throw new HoldfastError("timed_out", `${name} did not finish within ${timeoutMs / 1000} s and was ended`);
  }
  if (child.exitCode !== 0) {
    const how = child.signalCode ? `was killed by ${child.signalCode}` : `ended with ${child.exitCode}`;
    throw new HoldfastError("failed", `${name} ${how}: ${lastLines(complained.text || said.text)}`);
  }
  return { stdout: said.text, cut: said.cut };
}

function spawn(argv: [string, ...string[]]): Bun.Subprocess<"ignore", "pipe", "pipe"> {
  try {
    return Bun.spawn(argv, {
      cwd: "/",
      env: ENVIRONMENT,
      stdio: ["ignore", "pipe", "pipe"],
      // A group of its own: the end of the time is for all of it, and Ctrl-C in a terminal is for none.
      detached: true,
    });
  } catch (error) {
    throw new HoldfastError("failed", `cannot start ${argv[0]}: ${messageOf(error)}`, { cause: error });
  }
}

/** Reads to the end, or until the signal, and keeps the beginning. */
async function collect(
  stream: ReadableStream<Uint8Array>,
  stop: AbortSignal,
): Promise<{ text: string; cut: boolean }> {
  const reader = stream.getReader();
  const onStop = () => void reader.cancel().catch(() => {});
  stop.addEventListener("abort", onStop, { once: true });
  const chunks: Uint8Array[] = [];
  let size = 0;
  let cut = false;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      const kept = next.value.subarray(0, MAX_OUTPUT_BYTES - size);
      cut ||= kept.length < next.value.length;
      size += kept.length;
      if (kept.length > 0) chunks.push(kept);
    }
  } finally {
    stop.removeEventListener("abort", onStop);
  }
  return { text: Buffer.concat(chunks, size).toString("utf8"), cut };
}

function lastLines(text: string): string {
  const lines = text.trim().split("\n").slice(-5).join("; ");
  return lines === "" ? "it said nothing" : lines.slice(-1000);
}

function signalGroup(pid: number, signal: "SIGTERM" | "SIGKILL"): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // ESRCH: nobody is left in the group.
  }
}
