import { readSync, writeSync } from "node:fs";
import type { Clock } from "../../core/clock.ts";
import { ERROR_CODES, type ErrorCode, HoldfastError, messageOf, systemCode } from "../../core/errors.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import { CALL_FD, CALL_TOKEN, LineCutter, MAX_CALL_BYTES, parseAnswer } from "./call-lines.ts";
import type { KernelCalls } from "./kernel-calls.ts";

export interface CallChannel {
  fd: number;
  token: string;
}

/** The channel that this process inherited. Throws `usage` where there is none. */
export function inheritedChannel(env: Record<string, string | undefined>): CallChannel {
  const { [CALL_FD]: fd, [CALL_TOKEN]: token } = env;
  if (fd !== undefined && /^\d{1,5}$/.test(fd) && Number(fd) > 2 && token) return { fd: Number(fd), token };
  throw new HoldfastError(
    "usage",
    `holdfast call works in a script that an agent runs: ${CALL_FD} and ${CALL_TOKEN} are not set here`,
  );
}

export interface CallOptions {
  kernel: KernelCalls;
  clock: Clock;
  /** Unlike any other's. */
  id: string;
  timeoutMs: number;
}

/**
 * One request and its answer. All processes of the script share the descriptor: whoever holds the lock on it talks alone, and
 * the kernel takes the lock from one that dies. What a dead one left unread has another id and is passed over. The descriptor
 * is never shut down, only left: the others go on with it.
 */
export function callAgent(channel: CallChannel, verb: string, args: JsonObject, options: CallOptions): Json {
  const { kernel, clock, id, timeoutMs } = options;
  const line = `\n${JSON.stringify({ id, token: channel.token, verb, args })}\n`;
  if (Buffer.byteLength(line) > MAX_CALL_BYTES) {
    throw new HoldfastError("too_large", `a call may have ${MAX_CALL_BYTES} bytes`);
  }
  kernel.lock(channel.fd);
  const ends = clock.mono() + timeoutMs;
  const left = () => Math.ceil(ends - clock.mono());
  const waitFor = (what: "read" | "write") => {
    if (left() > 0 && kernel.wait(channel.fd, what, left())) return;
    if (left() > 0) return;
    throw new HoldfastError("timed_out", `the agent did not answer ${verb} within ${timeoutMs / 1000} s`);
  };
  send(channel.fd, Buffer.from(line), () => waitFor("write"));
  return receive(channel.fd, id, () => waitFor("read"));
}

function send(fd: number, bytes: Buffer, wait: () => void): void {
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if (systemCode(error) !== "EAGAIN") throw gone(error);
      wait();
    }
  }
}

function receive(fd: number, id: string, wait: () => void): Json {
  const cutter = new LineCutter();
  const chunk = Buffer.alloc(64 * 1024);
  let answer: ReturnType<typeof parseAnswer> = null;
  while (answer === null) {
    wait();
    let length: number;
    try {
      length = readSync(fd, chunk);
    } catch (error) {
      if (systemCode(error) === "EAGAIN") continue;
      throw gone(error);
    }
    if (length === 0) throw gone(null);
    cutter.push(chunk.subarray(0, length), (line) => {
      const found = line === null ? null : parseAnswer(line);
      if (found?.id === id) answer = found;
    });
  }
  return resultOf(answer);
}

function resultOf(answer: NonNullable<ReturnType<typeof parseAnswer>>): Json {
  if (answer.ok) return answer.result;
  const { code, message } = answer.error;
  throw new HoldfastError(Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : "failed", message);
}

function gone(error: unknown): HoldfastError {
  const why = error === null ? "" : ` (${messageOf(error)})`;
  return new HoldfastError("unreachable", `the agent has closed the channel of this run${why}`);
}
