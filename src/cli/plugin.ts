import { type CommandDef, defineCommand } from "citty";

export const plugin: CommandDef<any> = defineCommand({
  meta: {
    name: "plugin",
    description: "Look at an agent's plugins and what they may do\n\nExample: holdfast plugin list",
  },
  subCommands: {
    list: () => import("./plugin-list.ts").then((module) => module.list),
    show: () => import("./plugin-show.ts").then((module) => module.show),
  },
});
