import * as v from "valibot";
import { agentSection, healthSection, hubSection, logSection } from "./config-agent.ts";
import { name } from "./config-fields.ts";
import { historySection } from "./config-history.ts";
import { limitsSection } from "./config-limits.ts";
import { maintenanceSchema } from "./config-maintenance.ts";
import { parametersSection } from "./config-parameters.ts";
import { pipelineSchema } from "./config-pipeline.ts";
import { ruleSchema } from "./config-rule.ts";
import { scheduleSchema } from "./config-schedule.ts";
import { syncSection } from "./config-sync.ts";
import { triggerSchema } from "./config-trigger.ts";
import { outputSchema } from "./output-config.ts";

/** The agent's configuration document (DESIGN section 5): source of validation and of the JSON Schema. */
export const configSchema = v.strictObject({
  agent: agentSection,
  hub: hubSection,
  health: healthSection,
  log: logSection,
  limits: limitsSection,
  history: historySection,
  sync: syncSection,
  params: parametersSection,
  triggers: v.optional(v.pipe(v.array(triggerSchema), v.maxLength(1000)), []),
  rules: v.optional(v.pipe(v.array(ruleSchema), v.maxLength(10_000)), []),
  pipelines: v.optional(v.record(name, pipelineSchema), {}),
  schedules: v.optional(v.pipe(v.array(scheduleSchema), v.maxLength(10_000)), []),
  maintenance: v.optional(v.pipe(v.array(maintenanceSchema), v.maxLength(100)), []),
  outputs: v.optional(v.pipe(v.array(outputSchema), v.maxLength(100)), []),
});

/** The document as a person writes it. */
export type ConfigInput = v.InferInput<typeof configSchema>;
/** The document with every default filled in. */
export type Config = v.InferOutput<typeof configSchema>;
