import { defineCommand } from "citty";

export const hub = defineCommand({
  meta: {
    name: "hub",
    description: "Make and run a hub on this machine\n\nExample: holdfast hub init --name hub.example",
  },
  subCommands: {
    init: () => import("./hub-init.ts").then((module) => module.hubInit),
    run: () => import("./hub-run.ts").then((module) => module.hubRun),
    status: () => import("./hub-status.ts").then((module) => module.hubStatus),
  },
});
