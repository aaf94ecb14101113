/** Contexts for the tests of plugins: real clock, real signal, settings parsed as the host parses them. */
import { addersOf } from "../agent/workers/host-adders.ts";
import { pluginMemory } from "../agent/workers/host-memory.ts";
import type { Addition } from "../model/pipeline.ts";
import {
  type ActionContext,
  type BaseContext,
  type Emit,
  type Json,
  type PluginClock,
  type PluginDefinition,
  type ProposedEvent,
  type TriggerContext,
  v,
} from "../sdk/holdfast.ts";

export interface LogLine {
  level: string;
  message: string;
  fields?: Record<string, Json>;
}

export const realClock: PluginClock = {
  wall: () => Date.now(),
  mono: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const end = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal?.addEventListener("abort", end, { once: true });
    }),
  async *every(ms, signal) {
    for (let count = 0; !signal.aborted; count++) {
      yield count;
      await realClock.sleep(ms, signal);
    }
  },
};

interface Options {
  settings: Record<string, unknown>;
  home: string;
  signal?: AbortSignal;
  checkpoint?: Json;
  lost?: boolean;
  clock?: Partial<PluginClock>;
  name?: string;
}

/** A context that serves every kind of plugin; `lines` collects what the plugin logs, `added` the steps that it asks for. */
export function contextFor<D extends PluginDefinition>(definition: D, options: Options) {
  const lines: LogLine[] = [];
  const log = (level: string) => (message: string, fields?: Record<string, Json>) =>
    void lines.push({ level, message, ...(fields && { fields }) });
  const added: Addition[] = [];
  let kept: Json | undefined;
  const context = {
    name: options.name ?? "test",
    settings: v.parse(definition.settings, options.settings) as never,
    agent: { id: "agent-1", labels: {}, home: options.home },
    memory: pluginMemory(async () => {
      throw new Error("there is no memory in this test");
    }),
    state: { load: async () => kept, save: async (value: Json) => void (kept = value) },
    host: () => Promise.reject(new Error("there is no host in this test")),
    log: { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") },
    clock: { ...realClock, ...options.clock },
    signal: options.signal ?? new AbortController().signal,
    checkpoint: options.checkpoint,
    lost: options.lost ?? false,
    key: "run-1/step",
    run: "run-1",
    step: "step",
    attempt: 1,
    timeoutMs: 30_000,
    ...addersOf(async (additions) => void added.push(...additions)),
  };
  return {
    context: context as TriggerContext<never> & ActionContext<never> & BaseContext<never>,
    lines,
    added,
  };
}

/** Takes batches until `enough` says so (or the generator ends), then stops the generator. */
export async function collect(
  generator: AsyncGenerator<ProposedEvent | Emit, void, void>,
  enough: (events: ProposedEvent[]) => boolean,
): Promise<{ events: ProposedEvent[]; emits: Emit[]; checkpoint: Json | undefined }> {
  const events: ProposedEvent[] = [];
  const emits: Emit[] = [];
  let checkpoint: Json | undefined;
  for await (const item of generator) {
    const emit = "events" in item ? item : { events: [item] };
    emits.push(emit);
    events.push(...emit.events);
    if (emit.checkpoint !== undefined) checkpoint = emit.checkpoint;
    if (enough(events)) break;
  }
  return { events, emits, checkpoint };
}
