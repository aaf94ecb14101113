import { ActionError, type PluginClock } from "../../src/sdk/holdfast.ts";
import { explainStart } from "./find-program.ts";

/** From the polite signal to the one that cannot be refused. */
const GRACE_MS = 2_000;
/** A program that ended may have left children that hold its pipes; their output is not waited for. */
const LINGER_MS = 200;
const STDERR_TAIL = 8 * 1024;

export interface ProgramCall {
  /** An absolute path and its arguments. */
  command: string[];
  cwd: string;
  env: Record<string, string>;
  stdin: string;
  /** Bytes of stdout that are kept. */
  maxOutput: number;
  groups: LiveGroups;
  signal: AbortSignal;
  clock: PluginClock;
}

export interface ProgramResult {
  exitCode: number | null;
  signalCode: string | null;
  stdout: string;
  /** Its last 8 KB. */
  stderr: string;
  /** Part of stdout was cut away. */
  truncated: boolean;
}

/** Process groups that are running; they are killed if this process exits first. */
export class LiveGroups {
  readonly #leaders = new Set<number>();
  readonly #onExit = () => {
    for (const pid of this.#leaders) killGroup(pid, "SIGKILL");
  };

  add(pid: number): void {
    if (this.#leaders.size === 0) process.on("exit", this.#onExit);
    this.#leaders.add(pid);
  }

  delete(pid: number): void {
    this.#leaders.delete(pid);
    if (this.#leaders.size === 0) process.off("exit", this.#onExit);
  }
}

/** Runs a program in a process group of its own to its end; an abort ends the whole group. */
export async function runProgram(call: ProgramCall): Promise<ProgramResult> {
  if (call.signal.aborted) {
    throw new ActionError(`${call.command[0]} was not started: the step was stopped`, {
      code: "cancelled",
      started: false,
    });
  }
  const child = await start(call);
  call.groups.add(child.pid);
  const finished = new AbortController();
  let ending: Promise<void> | undefined;
  const onAbort = () => void (ending = endGroup(child.pid, call.clock, finished.signal));
  call.signal.addEventListener("abort", onAbort, { once: true });
  const stdout = new Kept(call.maxOutput, "head");
  const stderr = new Kept(STDERR_TAIL, "tail");
  const read = Promise.all([
    drain(child.stdout, stdout, finished.signal),
    drain(child.stderr, stderr, finished.signal),
  ]);
  try {
    await child.exited;
    // Its children may outlive it; those that hold its pipes were told to stop as well, and get the same time for it.
    if (ending) await Promise.race([read, ending]);
    await Promise.race([read, call.clock.sleep(LINGER_MS, finished.signal)]);
  } finally {
    finished.abort();
    if (ending) killGroup(child.pid, "SIGKILL");
    call.signal.removeEventListener("abort", onAbort);
    call.groups.delete(child.pid);
  }
  await read;
  if (call.signal.aborted) {
    throw new ActionError(`${call.command[0]} was stopped before it ended`, { code: "cancelled" });
  }
  return {
    exitCode: child.exitCode,
    signalCode: child.signalCode === null ? null : String(child.signalCode),
    stdout: stdout.text(),
    stderr: stderr.text(),
    truncated: stdout.truncated,
  };
}

async function start({ command, cwd, env, stdin }: ProgramCall) {
  try {
    return Bun.spawn(command, {
      cwd,
      env,
      // A leader of its own session: one kill reaches it and all that it starts.
      detached: true,
      stdin: new TextEncoder().encode(stdin),
      stdout: "pipe",
      stderr: "pipe",
    });
  } catch (error) {
    throw await explainStart(command[0]!, error);
  }
}

async function endGroup(pid: number, clock: PluginClock, finished: AbortSignal): Promise<void> {
  const deadline = clock.mono() + GRACE_MS;
  let lives = killGroup(pid, "SIGTERM");
  while (lives && clock.mono() < deadline && !finished.aborted) {
    await clock.sleep(10, finished);
    lives = killGroup(pid, 0);
  }
  if (lives) killGroup(pid, "SIGKILL");
}

/** False when there is nobody left in the group. */
function killGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** Bytes of a stream, as many as are wanted of its head or its tail. */
class Kept {
  readonly #limit: number;
  readonly #part: "head" | "tail";
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  truncated = false;

  constructor(limit: number, part: "head" | "tail") {
    this.#limit = limit;
    this.#part = part;
  }

  add(chunk: Uint8Array): void {
    const room = this.#limit - this.#bytes;
    if (this.#part === "head") {
      if (chunk.length > room) this.truncated = true;
      if (room > 0) this.#push(chunk.slice(0, room));
      return;
    }
    this.#push(chunk.slice(-this.#limit));
    while (this.#bytes - this.#chunks[0]!.length >= this.#limit) this.#bytes -= this.#chunks.shift()!.length;
  }

  text(): string {
    const bytes = Buffer.concat(this.#chunks);
    const kept = this.#part === "tail" ? bytes.subarray(-this.#limit) : bytes;
    // A character that the limit cut in two is left out.
    return new TextDecoder().decode(kept, { stream: this.truncated });
  }

  #push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }
}

async function drain(stream: ReadableStream<Uint8Array>, kept: Kept, stop: AbortSignal): Promise<void> {
  const reader = stream.getReader();
  const onStop = () => void reader.cancel().catch(() => {});
  stop.addEventListener("abort", onStop, { once: true });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      kept.add(value);
    }
  } catch {
    // A broken pipe is an end like another; the exit code tells what happened.
  } finally {
    stop.removeEventListener("abort", onStop);
  }
}
