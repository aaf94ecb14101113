import { messageOf } from "../../core/errors.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import { type Grant, summaryOf } from "../../model/grant.ts";
import type { AgentFacts, CatalogPlugin } from "../../model/plugin.ts";
import { EmitChain, type EmitHandler } from "./emit-chain.ts";
import type { Incarnation, PartEnd } from "./supervisor.ts";
import type { Worker } from "./worker.ts";
import type { WorkerMaker } from "./worker-maker.ts";

export interface TriggerOptions {
  name: string;
  plugin: CatalogPlugin;
  settings: JsonObject;
  /** The last committed checkpoint. */
  checkpoint: () => Promise<Json | undefined>;
  /** Without a checkpoint it is to start from now: it had one, which was lost. */
  lost?: boolean;
  /** Keeps events and checkpoint as a whole, or rejects. Called again only after it has settled. */
  onEvents: EmitHandler;
}

/** One life of a trigger, from its last committed checkpoint on. */
export async function startTrigger(
  options: TriggerOptions & { grant: Grant },
  maker: WorkerMaker,
  agent: AgentFacts,
  stopping: AbortSignal,
): Promise<Incarnation> {
  const { name, plugin, settings, grant } = options;
  let worker: Worker | undefined;
  const chain = new EmitChain(options.onEvents, (seq, refused) =>
    worker?.send({ kind: "emitted", seq, ...(refused === undefined ? {} : { refused }) }),
  );
  const checkpoint = (await options.checkpoint()) ?? null;
  const lost = options.lost === true && checkpoint === null;
  worker = await maker.open(
    plugin,
    name,
    grant,
    (frame, bytes) => {
      if (frame.kind !== "emit") throw new Error(`a frame \`${frame.kind}\`, which a trigger does not send`);
      chain.push({ seq: frame.seq, events: frame.events, checkpoint: frame.checkpoint, bytes });
    },
    stopping,
  );
  await worker.request({ kind: "start_trigger", settings, checkpoint, lost, agent, name }, "started");
  const ended = worker.ended.then(async (end): Promise<PartEnd> => {
    // The next life reads the checkpoint, so what this one emitted must be settled first.
    if (!stopping.aborted) await Promise.race([chain.idle(), whenAborted(stopping)]);
    const refusal = chain.refusal;
    if (refusal) {
      return {
        ...end,
        clean: false,
        reason: `an emit was refused: ${refusal.reason}`,
        counts: refusal.fault,
      };
    }
    return { ...end, counts: true };
  });
  const running = worker;
  return {
    granted: summaryOf(grant),
    pid: running.pid,
    ended,
    stop: () => running.stop().catch((error: unknown) => running.kill(messageOf(error))),
  };
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
