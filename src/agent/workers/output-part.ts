import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { CloudEvent } from "../../model/event.ts";
import { type Grant, summaryOf } from "../../model/grant.ts";
import type { JsonObject } from "../../model/json.ts";
import type { AgentFacts, CatalogPlugin } from "../../model/plugin.ts";
import type { UpFrame } from "./frames.ts";
import type { Incarnation, PartEnd } from "./supervisor.ts";
import type { WorkerTiming } from "./timing.ts";
import type { WorkerMaker } from "./worker-maker.ts";

export interface OutputOptions {
  name: string;
  plugin: CatalogPlugin;
  settings: JsonObject;
}

export interface OutputIncarnation extends Incarnation {
  write(events: CloudEvent[]): Promise<void>;
}

interface Pending {
  resolve(): void;
  reject(error: Error): void;
}

/** One life of an output. */
export async function startOutput(
  options: OutputOptions & { grant: Grant },
  ports: { maker: WorkerMaker; agent: AgentFacts; clock: Clock; timing: WorkerTiming },
  stopping: AbortSignal,
): Promise<OutputIncarnation> {
  const { name, plugin, settings, grant } = options;
  const { clock, timing } = ports;
  const pending = new Map<number, Pending>();
  let lastId = 0;
  let over: Error | undefined;
  const worker = await ports.maker.open(plugin, name, grant, (frame) => answer(pending, frame), stopping);
  await worker.request({ kind: "start_output", settings, agent: ports.agent, name }, "started");
  const ended = worker.ended.then((end): PartEnd => {
    over = new HoldfastError("failed", `output ${name}: ${end.reason}`);
    for (const write of pending.values()) write.reject(over);
    return { ...end, counts: true };
  });
  return {
    granted: summaryOf(grant),
    ended,
    stop: () => worker.stop(),
    async write(events) {
      if (over) throw over;
      const id = ++lastId;
      const cancel = clock.after(timing.writeMs, () =>
        worker.kill(`did not take a batch within ${timing.writeMs} ms`),
      );
      const answered = new Promise<void>((resolve, reject) => pending.set(id, { resolve, reject }));
      try {
        worker.send({ kind: "write", id, events: events as unknown as JsonObject[] });
        await answered;
      } finally {
        cancel();
        pending.delete(id);
      }
    },
  };
}

function answer(pending: Map<number, Pending>, frame: UpFrame): void {
  if (frame.kind === "result") pending.get(frame.id)?.resolve();
  else if (frame.kind === "error") {
    const { message, code, retryable } = frame.error;
    const details = { code, ...(frame.partial && { partial: frame.partial }) };
    pending.get(frame.id)?.reject(new HoldfastError("failed", message, { retryable, details }));
  } else throw new HoldfastError("invalid", `a frame \`${frame.kind}\`, which an output does not send`);
}
