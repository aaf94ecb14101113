import { type WorkerFacts } from "../model/attempt-facts.ts";
import { levelsOf } from "../model/protection.ts";
import type { AgentOptions, AgentPlugins } from "./agent-options.ts";
import type { SharedParts } from "./agent-shared.ts";
import type { Automation } from "./automation.ts";

/** Starts what an agent with something to do is made of: loaded only then. `admit` holds events back. */
export async function wireAutomation(
  options: AgentOptions,
  { catalog, workers, banned }: AgentPlugins,
  { store, memory, parameters, places, brake, silences, watch }: SharedParts,
  admit: () => Promise<void>,
): Promise<Automation> {
  const { config, id, clock, ids, log } = options;
  const [{ startAutomation }, { pipelineDefinitions, ruleDefinitions, scheduleDefinitions }] =
    await Promise.all([import("./automation.ts"), import("./config/definitions.ts")]);
  await workers.sweep();
  for (const problem of catalog.problems()) log.error("a plugin was left out", { ...problem });
  let levels: WorkerFacts["protections"] = null;
  void options.protections.then((known) => (levels = levelsOf(known)));
  const effectOf = (action: string) => catalog.get("action", action)?.manifest.effect ?? "at-most-once";
  const pipelines = pipelineDefinitions(config, effectOf);
  return await startAutomation({
    config,
    rules: ruleDefinitions(config),
    schedules: scheduleDefinitions(config, () => Intl.DateTimeFormat().resolvedOptions().timeZone),
    pipelines,
    agent: { id, labels: config.agent.labels },
    store,
    memory,
    parameters,
    brake,
    silences,
    watch,
    secretPlace: (name) => {
      options.masker.add(places.mark);
      return places.placeOf(name);
    },
    masker: options.masker,
    catalog,
    workers,
    protections: () => levels,
    banned,
    clock,
    ids,
    log,
    admit,
  });
}
