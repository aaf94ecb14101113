import { hostname } from "node:os";
import { type ArgsDef, defineCommand } from "citty";
import { systemClock } from "../core/clock.ts";
import { systemIds } from "../core/ids.ts";
import { parseListen } from "../core/listen.ts";
import { HUB_HOME_ARGS, HUB_LISTEN_ARGS, hubBase, listenFlag, namesFrom } from "./hub-args.ts";
import { checkArguments } from "./strict-args.ts";

const ARGS = {
  ...HUB_LISTEN_ARGS,
  "token-file": {
    type: "string",
    valueHint: "FILE",
    description: "Write the administrator's API token there (0600) instead of printing it",
  },
  ...HUB_HOME_ARGS,
} as const satisfies ArgsDef;

const EVERYWHERE = ["0.0.0.0", "::"];
const LOCAL_NAMES = ["localhost", "127.0.0.1", "::1"];

export const hubInit = defineCommand({
  meta: {
    name: "init",
    description:
      "Make a hub: its CA, its certificate, the first API token and a join command, shown once\n\n" +
      "Example: holdfast hub init --name hub.example",
  },
  args: ARGS,
  async run({ args, rawArgs }) {
    checkArguments(ARGS, args);
    const { SERVER_NAME } = await import("../hub/config.ts");
    const sync = { listen: listenFlag("listen", args.listen, false) ?? "0.0.0.0:8443" };
    const names = namesFrom(rawArgs, SERVER_NAME);
    const config = {
      sync,
      api: { listen: listenFlag("api", args.api, true) ?? "127.0.0.1:8442" },
      health: { listen: listenFlag("health", args.health, true) ?? "127.0.0.1:9111" },
      names: serverNames(names, parseListen(sync.listen).host),
    };
    const { initHub } = await import("../hub/hub.ts");
    const made = await initHub({
      base: hubBase(args.home),
      config,
      tokenFile: args["token-file"],
      clock: systemClock(),
      ids: systemIds(),
    });
    const { home, hubId, pin, adminToken, join } = made;
    const expiresAt = new Date(join.expiresMs).toISOString();
    if (args.json) {
      const facts = { hubId, home: home.root, pin, adminToken, tokenFile: args["token-file"] ?? null };
      console.log(
        JSON.stringify({ ...facts, join: { token: join.token, command: join.command, expiresAt } }),
      );
      return;
    }
    const run = `holdfast hub run${args.home === undefined ? "" : ` --home ${args.home}`}`;
    console.log(`Made the hub in ${home.root}`);
    console.log(`\nAPI token of the administrator${shown(adminToken, args["token-file"])}`);
    console.log(`\nStart the hub:\n  ${run}`);
    console.log(
      `\nEnroll an agent (one use, until ${expiresAt}; put its id in place of ID):\n  ${join.command}`,
    );
  },
});

/** The names given, else this host's; always those by which this machine reaches itself. */
function serverNames(names: string[], listenHost: string): string[] {
  const bound = EVERYWHERE.includes(listenHost) ? [] : [listenHost];
  return [...new Set([...(names.length > 0 ? names : [hostname()]), ...bound, ...LOCAL_NAMES])];
}

function shown(token: string | null, file: string | undefined): string {
  return token === null ? `: in ${file}` : ` (keep it, it is not shown again):\n  ${token}`;
}
