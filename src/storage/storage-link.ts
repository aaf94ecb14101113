import type { FromThread, ToThread } from "./storage-frames.ts";

/** The way to a storage program and back: a thread, or in a simulation the same thread. */
export interface StorageLink {
  onmessage: ((event: { data: FromThread }) => void) | null;
  /** The other side died. */
  onerror: ((event: { message: string; preventDefault(): void }) => void) | null;
  postMessage(message: ToThread): void;
  terminate(): void;
}
