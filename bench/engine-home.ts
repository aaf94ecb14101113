/** A home whose agent runs a no-op action for each event of a trigger, for benchmarks of the engine. */
import { placeHome } from "./agent-home.ts";

/** Its source. Answers at once with its input and when it was called. The share of the processor is not what is measured. */
export const NOOP = `import { defineAction, v } from "holdfast";
export default defineAction({
  name: "noop", description: "does nothing", effect: "idempotent", settings: v.record(v.string(), v.any()),
  resources: { cpu: 4 },
  async run({ settings }) { return { ...settings, startedAt: performance.timeOrigin + performance.now() }; },
});
`;

export interface EngineHome {
  /** Source of the trigger plugin. */
  trigger: string;
  /** The trigger's settings, as YAML. */
  settings: string;
  /** YAML of the step's input. */
  input: string;
  limits: string;
  concurrency: number;
}

export const PIPELINE = "noop";
export const STEP = "noop";

/** Trigger `source`, a rule for all of its events, and a pipeline of one step. Gives the agent's folder. */
export async function placeEngineHome(home: string, options: EngineHome): Promise<string> {
  return await placeHome(home, {
    "config/conf.d/bench.yaml": configOf(options),
    "data/plugins/source.ts": options.trigger,
    "data/plugins/noop.ts": NOOP,
  });
}

export function configOf({ settings, input, limits, concurrency }: Omit<EngineHome, "trigger">): string {
  return `limits: ${limits}
triggers:
  - { name: source, plugin: source, with: ${settings} }
rules:
  - { name: go, on: source, when: 'event.type == "bench.event"', run: ${PIPELINE} }
pipelines:
  ${PIPELINE}: { concurrency: ${concurrency}, steps: [{ id: ${STEP}, action: noop, with: ${input} }] }
`;
}
