import { defineCommand } from "citty";
import { standardOutput } from "./output.ts";
import { checkArguments } from "./strict-args.ts";

const args = {} as const;

export const schema = defineCommand({
  meta: {
    name: "schema",
    description:
      "Print the JSON Schema of agent.yaml, for editors\n\nExample: holdfast config schema > agent.schema.json",
  },
  args,
  async run(context) {
    checkArguments(args, context.args);
    const { configJsonSchema } = await import("../agent/config/json-schema.ts");
    await standardOutput(process.env).line(JSON.stringify(configJsonSchema(), null, 2));
  },
});
