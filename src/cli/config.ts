import { type CommandDef, defineCommand } from "citty";

export const config: CommandDef<any> = defineCommand({
  meta: {
    name: "config",
    description: "Check and show an agent's configuration\n\nExample: holdfast config validate agent.yaml",
  },
  subCommands: {
    validate: () => import("./config-validate.ts").then((module) => module.validate),
    schema: () => import("./config-schema.ts").then((module) => module.schema),
    show: () => import("./config-show.ts").then((module) => module.show),
  },
});
