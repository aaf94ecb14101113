import { HoldfastError } from "../../../core/errors.ts";
import type { Touch } from "./touch.ts";
import type { WatchOrder, WatchReport } from "./watch-messages.ts";

export interface Watch {
  /** Resolves when nobody is left to watch; rejects with why it broke off. */
  ended: Promise<void>;
  /** To be called once all processes are killed; ends also what the kernel does not say the end of. */
  stop(): void;
}

/**
 * Takes over the listener of a starting worker on a thread of its own, since waiting for the kernel blocks. Resolves when the
 * worker goes on; rejects with why it cannot be watched.
 */
export async function openWatch(
  what: { pid: number; channelFd: number },
  onTouches: (touches: Touch[]) => void,
): Promise<Watch> {
  const stop = new SharedArrayBuffer(4);
  const thread = new Worker(threadAddress());
  const watching = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const fail = (message: string) => {
    const error = new HoldfastError("failed", message);
    watching.reject(error);
    ended.reject(error);
  };
  // Whoever waits for the other one is told.
  watching.promise.catch(() => {});
  ended.promise.catch(() => {});
  thread.addEventListener("error", ({ message }) => fail(`the thread that watches it: ${message}`));
  thread.addEventListener("message", ({ data }: MessageEvent<WatchReport>) => {
    if (data.kind === "watching") watching.resolve();
    else if (data.kind === "touched") onTouches(data.touches);
    else if (data.kind === "over") ended.resolve();
    else fail(data.message);
  });
  thread.postMessage({ ...what, stop } satisfies WatchOrder);
  const over = ended.promise.finally(() => thread.terminate());
  over.catch(() => {});
  await watching.promise;
  return { ended: over, stop: () => void Atomics.store(new Int32Array(stop), 0, 1) };
}

/** In the executable each entrypoint lies under its path below src; Bun would look for a relative one on the disk. */
function threadAddress(): string {
  if (Bun.isStandaloneExecutable) return `${import.meta.dir}/agent/workers/learn/watch-thread.ts`;
  return new URL("./watch-thread.ts", import.meta.url).href;
}
