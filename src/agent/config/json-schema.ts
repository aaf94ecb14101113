import { toJsonSchema } from "@valibot/to-json-schema";
import { isDuration } from "../../core/duration.ts";
import { configSchema } from "../../model/config.ts";

/** The JSON Schema (draft 2020-12) of what a person may write into `agent.yaml`, for editors and forms. */
export function configJsonSchema(): Record<string, unknown> {
  const schema = toJsonSchema(configSchema, {
    target: "draft-2020-12",
    typeMode: "input",
    overrideAction({ valibotAction, jsonSchema }) {
      if (valibotAction.type !== "check") return undefined;
      const check = valibotAction as unknown as { requirement: unknown; message: unknown };
      if (check.requirement === isDuration)
        return { ...jsonSchema, pattern: "^(\\d+(\\.\\d+)?(ms|s|m|h|d))+$", maxLength: 32 };
      return typeof check.message === "string" && jsonSchema.description === undefined
        ? { ...jsonSchema, description: check.message }
        : jsonSchema;
    },
  });
  const { $schema, ...rest } = schema;
  return {
    $schema,
    $id: "urn:holdfast:schema:agent-config",
    title: "Holdfast agent configuration",
    ...rest,
  };
}
