import type { Touch } from "./touch.ts";

/** What the watching thread is given, as the first message. */
export interface WatchOrder {
  /** Stage 1, and what it becomes. */
  pid: number;
  /** The agent's end of its channel. */
  channelFd: number;
  /** One number; not zero: end. */
  stop: SharedArrayBuffer;
}

/** What it says. After `failed` and `over` it is done. */
export type WatchReport =
  /** The listener is taken, and the worker goes on. */
  | { kind: "watching" }
  /** Seen for the first time. */
  | { kind: "touched"; touches: Touch[] }
  | { kind: "over" }
  | { kind: "failed"; message: string };
