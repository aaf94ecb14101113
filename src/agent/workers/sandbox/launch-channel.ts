import { HoldfastError } from "../../../core/errors.ts";
import { ERRNO, type Kernel, must } from "./libc.ts";

export const CHANNEL_FD = 3;
const HEADER_BYTES = 4;
const MAX_POLICY_BYTES = 4 * 1024 * 1024;
const POLLIN = 1;
const POLLOUT = 4;
const POLLERR = 8;
const POLLHUP = 16;

/**
 * The channel while stage 1 has it: takes exactly one frame at a time and not a byte more, since what follows is for the
 * program that comes after. The descriptor may be a non-blocking one.
 */
export class LaunchChannel {
  readonly #kernel: Kernel;
  readonly #fd: number;

  /** `fd` is another one where the agent's end is read so. */
  constructor(kernel: Kernel, fd = CHANNEL_FD) {
    this.#kernel = kernel;
    this.#fd = fd;
  }

  read(what: string): unknown {
    const length = this.#take(what, HEADER_BYTES).readUInt32BE(0);
    if (length === 0 || length > MAX_POLICY_BYTES) {
      throw new HoldfastError("too_large", `sandbox: ${what}: a frame of ${length} bytes`);
    }
    try {
      return JSON.parse(this.#take(what, length).toString());
    } catch (error) {
      throw new HoldfastError("invalid", `sandbox: ${what}: not JSON`, { cause: error });
    }
  }

  write(frame: unknown): void {
    const body = Buffer.from(JSON.stringify(frame));
    const bytes = Buffer.alloc(HEADER_BYTES + body.length);
    bytes.writeUInt32BE(body.length, 0);
    body.copy(bytes, HEADER_BYTES);
    for (let at = 0; at < bytes.length;) {
      const written = this.#kernel.call("write", this.#fd, bytes.subarray(at), bytes.length - at);
      if (written === -ERRNO.EAGAIN) this.#wait(POLLOUT);
      else if (written !== -ERRNO.EINTR) at += must("write to the agent", written);
    }
  }

  /** The agent's end is gone. */
  isClosed(): boolean {
    return (this.#wait(0, new BigInt64Array(2)) & (POLLERR | POLLHUP)) !== 0;
  }

  #take(what: string, size: number): Buffer {
    const bytes = Buffer.alloc(size);
    for (let at = 0; at < size;) {
      const count = this.#kernel.call("read", this.#fd, bytes.subarray(at), size - at);
      if (count === 0) throw new HoldfastError("failed", `sandbox: ${what}: the agent is gone`);
      if (count === -ERRNO.EAGAIN) this.#wait(POLLIN);
      else if (count !== -ERRNO.EINTR) at += must(what, count);
    }
    return bytes;
  }

  /** Waits, up to `limit` (a struct timespec; null: for ever), and gives what there is. */
  #wait(events: number, limit: BigInt64Array | null = null): number {
    // struct pollfd { int fd; short events, revents }
    const poll = Buffer.alloc(8);
    poll.writeInt32LE(this.#fd, 0);
    poll.writeInt16LE(events, 4);
    this.#kernel.call("ppoll", poll, 1, limit, null, 0);
    return poll.readInt16LE(6);
  }
}
