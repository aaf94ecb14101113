import { HoldfastError, messageOf } from "../../../core/errors.ts";
import { LaunchChannel } from "../sandbox/launch-channel.ts";
import { ERRNO, type Kernel, must } from "../sandbox/libc.ts";
import { callNumber } from "../sandbox/syscalls.ts";
import { decodeCall } from "./decode-call.ts";
import { LEARNED_CALLS, type LearnedCall } from "./learn-filter.ts";
import { ProcessView } from "./process-view.ts";
import { SeenProcesses } from "./seen-processes.ts";
import { ConnectedSockets, socketsOf, takeDescriptor } from "./socket-kinds.ts";
import { keyOf, type Touch } from "./touch.ts";
import type { WatchOrder, WatchReport } from "./watch-messages.ts";

const GET_NOTIF_SIZES = 3;
const [IOCTL_RECEIVE, IOCTL_SEND, IOCTL_ID_VALID] = [0xc0502100, 0xc0182101, 0x40082102];
const FLAG_CONTINUE = 1;
const POLLIN = 1;
/** Between two looks at whether it is to stop. */
const POLL_NS = 50_000_000n;
/** Of different touches so many are told; a worker that makes up more names shows no more by them. */
const MAX_TOUCHES = 100_000;

const NO_ACCESS = /\bE(PERM|ACCES)\b/;

/** Takes the listener of a starting worker, lets it go on, and lets through every call of it that it has looked at. */
export function watchCalls(kernel: Kernel, order: WatchOrder, report: (report: WatchReport) => void): void {
  const listener = takeListener(kernel, order);
  const processes = new SeenProcesses();
  try {
    report({ kind: "watching" });
    const stop = new Int32Array(order.stop);
    const seen = new Set<string>();
    const watch = new CallWatch(kernel, listener, processes);
    for (let state = watch.wait(); state !== "over"; state = watch.wait()) {
      if (Atomics.load(stop, 0) !== 0) return;
      if (state === "nothing") continue;
      const fresh = watch.answer().filter((touch) => {
        const key = keyOf(touch);
        return seen.size < MAX_TOUCHES && !seen.has(key) && seen.add(key);
      });
      if (fresh.length > 0) report({ kind: "touched", touches: fresh });
    }
  } finally {
    // Without a listener their calls would fail one by one.
    processes.kill();
    kernel.call("close", listener);
  }
}

function takeListener(kernel: Kernel, { pid, channelFd }: WatchOrder): number {
  const channel = new LaunchChannel(kernel, channelFd);
  const frame = firstFrame(channel);
  if (frame?.kind === "failed") throw new HoldfastError("failed", String(frame.message));
  if (frame?.kind !== "listener" || typeof frame.fd !== "number") {
    throw new HoldfastError("failed", "the launcher did not announce a listener");
  }
  const listener = takeDescriptor(kernel, pid, frame.fd);
  channel.write({ kind: "go" });
  return listener;
}

function firstFrame(channel: LaunchChannel) {
  try {
    return channel.read("listener") as { kind?: unknown; fd?: unknown; message?: unknown } | null;
  } catch (error) {
    throw new HoldfastError("failed", "the launcher ended before it announced a listener", { cause: error });
  }
}

class CallWatch {
  readonly #kernel: Kernel;
  readonly #listener: number;
  readonly #processes: SeenProcesses;
  readonly #names: Map<number, LearnedCall>;
  readonly #connected = new ConnectedSockets();
  readonly #notification: Buffer;
  readonly #response: Buffer;
  /** struct pollfd { int fd; short events, revents } */
  readonly #poll = Buffer.alloc(8);
  readonly #limit = new BigInt64Array([0n, POLL_NS]);
  // Handed on as numbers, because memory that is handed to the kernel is kept for good.
  readonly #addresses: Record<"notification" | "response" | "poll" | "limit", bigint>;

  constructor(kernel: Kernel, listener: number, processes: SeenProcesses) {
    this.#processes = processes;
    this.#kernel = kernel;
    this.#listener = listener;
    this.#names = new Map(
      LEARNED_CALLS.flatMap((name): [number, LearnedCall][] => {
        const number = callNumber(name, kernel.arch);
        return number === null ? [] : [[number, name]];
      }),
    );
    // struct seccomp_notif_sizes { u16 notification, response, data }
    const sizes = new Uint16Array(3);
    must("sizes of notifications", kernel.call("seccomp", GET_NOTIF_SIZES, 0, sizes));
    this.#notification = Buffer.alloc(Math.max(sizes[0]!, 80));
    this.#response = Buffer.alloc(Math.max(sizes[1]!, 24));
    this.#poll.writeInt32LE(listener, 0);
    this.#poll.writeInt16LE(POLLIN, 4);
    this.#addresses = {
      notification: kernel.address(this.#notification),
      response: kernel.address(this.#response),
      poll: kernel.address(this.#poll),
      limit: kernel.address(this.#limit),
    };
  }

  /** `over`: nobody is left who could make a call. */
  wait(): "call" | "nothing" | "over" {
    this.#limit[1] = POLL_NS;
    const count = this.#kernel.call("ppoll", this.#addresses.poll, 1, this.#addresses.limit, null, 0);
    if (count <= 0) return "nothing";
    return (this.#poll.readInt16LE(6) & POLLIN) !== 0 ? "call" : "over";
  }

  /** Looks at the call that waits, and lets it go on. */
  answer(): Touch[] {
    this.#notification.fill(0);
    const received = this.#kernel.call("ioctl", this.#listener, IOCTL_RECEIVE, this.#addresses.notification);
    // Whoever made it was killed, or interrupted.
    if (received === -ERRNO.ENOENT || received === -ERRNO.EINTR) return [];
    must("receive a notification", received);
    const tid = this.#notification.readUInt32LE(8);
    const touches = this.#touches(tid);
    const keep = this.#look(tid);
    // The number may belong to another process by now; then nothing of what was read counts.
    const valid =
      this.#kernel.call("ioctl", this.#listener, IOCTL_ID_VALID, this.#addresses.notification) === 0;
    // struct seccomp_notif_resp { u64 id; s64 value; s32 error; u32 flags }
    this.#response.fill(0);
    this.#notification.copy(this.#response, 0, 0, 8);
    this.#response.writeUInt32LE(FLAG_CONTINUE, 20);
    const sent = this.#kernel.call("ioctl", this.#listener, IOCTL_SEND, this.#addresses.response);
    // Unanswered, its caller would wait for ever.
    if (sent !== -ERRNO.ENOENT) must("let a call go on", sent);
    if (!valid) return [];
    keep();
    return touches;
  }

  #look(tid: number): () => void {
    try {
      return this.#processes.look(tid);
    } catch {
      // It is gone.
      return () => {};
    }
  }

  #touches(tid: number): Touch[] {
    // struct seccomp_notif { u64 id; u32 pid, flags; struct seccomp_data { int call; u32 arch; u64 ip, args[6] } }
    const name = this.#names.get(this.#notification.readInt32LE(16));
    if (name === undefined) return [];
    const args = Array.from({ length: 6 }, (_, at) => this.#notification.readBigUInt64LE(32 + at * 8));
    const view = new ProcessView(tid);
    try {
      return decodeCall({ name, args }, view, socketsOf(this.#kernel, view, this.#connected));
    } catch (error) {
      if (NO_ACCESS.test(messageOf(error))) return [{ what: "unseen", call: name }];
      // The process is gone, or gave an address that is not its own: the kernel refuses that call itself.
      return [];
    }
  }
}
