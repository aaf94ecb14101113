import { readFileSync } from "node:fs";
import { type ArgsDef, defineCommand } from "citty";
import { celChecks } from "../agent/config/checks.ts";
import { agentHome, placeStarterConfig, prepareHome } from "../agent/config/home.ts";
import { loadConfig, requireConfig } from "../agent/config/load.ts";
import { setConfigValue } from "../agent/config/set-value.ts";
import { systemClock } from "../core/clock.ts";
import { HoldfastError, messageOf } from "../core/errors.ts";
import { acquireLock } from "../core/lock-file.ts";
import { HOME_ARGS, homeBase } from "./home-args.ts";
import { checkArguments } from "./strict-args.ts";

const ARGS = {
  ...HOME_ARGS,
  id: {
    type: "string",
    required: true,
    valueHint: "ID",
    description: "Id of this agent, unique in the fleet",
  },
  hub: { type: "string", required: true, valueHint: "URL", description: "grpcs://HOST:PORT of the hub" },
  token: { type: "string", valueHint: "TOKEN", description: "Join token" },
  "token-file": {
    type: "string",
    valueHint: "FILE",
    description: "File that holds the join token, so that no list of processes shows it",
  },
  "ca-pin": {
    type: "string",
    required: true,
    valueHint: "PIN",
    description: "sha256:… of the public key of the hub's CA",
  },
  json: { type: "boolean", description: "Print JSON" },
} as const satisfies ArgsDef;

export const agentEnroll = defineCommand({
  meta: {
    name: "enroll",
    description:
      "Join a hub: the key is made here, the hub signs a certificate for it\n\n" +
      "Example: holdfast agent enroll --id web-01 --hub grpcs://hub.example:8443 --token hfjoin_… --ca-pin sha256:…",
  },
  args: ARGS,
  async run({ args }) {
    checkArguments(ARGS, args);
    const token = readToken(args.token, args["token-file"]);
    const home = agentHome(homeBase(args.home), args.id);
    prepareHome(home);
    const lock = acquireLock(home.lockFile, `agent ${home.id}`);
    try {
      placeStarterConfig(home);
      const config = requireConfig(
        await loadConfig({
          configFile: home.configFile,
          confDir: home.confDir,
          env: process.env,
          flags: { id: home.id },
          checks: { expressions: celChecks },
        }),
      );
      const { enrollAgent } = await import("../agent/enrollment/enroll.ts");
      const made = await enrollAgent({
        url: args.hub,
        token,
        pin: args["ca-pin"],
        id: home.id,
        labels: config.agent.labels,
        directory: home.certificates,
        clock: systemClock(),
      });
      setConfigValue(home.configFile, ["hub", "url"], args.hub);
      const facts = {
        id: home.id,
        hub: args.hub,
        hubId: made.hubId,
        expiresAt: new Date(made.expiresMs).toISOString(),
        already: made.already,
      };
      if (args.json) return console.log(JSON.stringify(facts));
      const what = made.already ? "was enrolled already" : "is enrolled";
      console.log(
        `Agent ${home.id} ${what} at ${args.hub}; its certificate is valid until ${facts.expiresAt}.`,
      );
      console.log(
        `Start it:\n  holdfast agent run --id ${home.id}${args.home === undefined ? "" : ` --home ${args.home}`}`,
      );
    } finally {
      lock.release();
    }
    process.exit(0);
  },
});

function readToken(token: string | undefined, file: string | undefined): string {
  if ((token === undefined) === (file === undefined)) {
    throw new HoldfastError("usage", "give the join token with either --token or --token-file");
  }
  if (file === undefined) return token!;
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new HoldfastError("not_found", `the join token cannot be read from ${file}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
