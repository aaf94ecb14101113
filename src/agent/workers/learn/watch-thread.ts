import { messageOf } from "../../../core/errors.ts";
import { openKernel } from "../sandbox/libc.ts";
import { watchCalls } from "./watch-calls.ts";
import type { WatchOrder, WatchReport } from "./watch-messages.ts";

declare const self: {
  onmessage: ((event: { data: WatchOrder }) => void) | null;
  postMessage(report: WatchReport): void;
};

/** Entry of the thread that watches one learning worker: the kernel keeps its caller waiting, which the agent cannot. */
self.onmessage = ({ data }) => {
  try {
    watchCalls(openKernel(), data, (report) => self.postMessage(report));
    self.postMessage({ kind: "over" });
  } catch (error) {
    self.postMessage({ kind: "failed", message: messageOf(error) });
  }
};
