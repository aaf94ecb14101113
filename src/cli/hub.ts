import { defineCommand } from "citty";

export const hub = defineCommand({
  meta: {
    name: "hub",
    description: "Make and run a hub on this machine\n\nExample: holdfast hub init --name hub.example",
  },
  subCommands: {
    init: () => import("./hub-init.ts").then((module) => module.hubInit),
    run: () => import("./hub-run.ts").then((module) => module.hubRun),
    "rotate-receipt-key": () =>
      import("./hub-rotate-receipt-key.ts").then((module) => module.rotateReceiptKey),
    status: () => import("./hub-status.ts").then((module) => module.hubStatus),
  },
});
