import { existsSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { type ArgsDef, defineCommand } from "citty";
import { AGENT_ID } from "../../model/agent-id.ts";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { acquireLock } from "../../core/lock-file.ts";
import { agentHome, prepareHome } from "../../agent/config/home.ts";
import { HubClient } from "../client/client.ts";
import { HOME_ARGS, homeBase } from "../home-args.ts";
import { runLiveView } from "../live-view.ts";
import { interruption, standardOutput } from "../output.ts";
import { invocation } from "../self.ts";
import { checkArguments, wholeNumber } from "../strict-args.ts";
import { Child } from "./child.ts";
import { enrollHere } from "./enroll-here.ts";
import { placeSample } from "./sample.ts";

const DEFAULT_PORT = 8442;

const ARGS = {
  home: HOME_ARGS.home,
  id: { type: "string", valueHint: "ID", description: "Id of the agent (default: this host's name)" },
  port: {
    type: "string",
    valueHint: "N",
    default: String(DEFAULT_PORT),
    description: "API on port N, agents on N+1, health of hub and agent on N+2 and N+3; 0 takes free ones",
  },
  json: { type: "boolean", description: "Print one JSON line when ready, then one for each event and run" },
} as const satisfies ArgsDef;

interface HubReady {
  api: string;
  grpc: string;
}

interface AgentReady {
  health: string;
  home: string;
}

export const up = defineCommand({
  meta: {
    name: "up",
    description:
      "Run a hub and an agent on this machine, enrolled, with a live view; Ctrl-C drains and ends\n\nExample: holdfast up --home ./try --port 0",
  },
  args: ARGS,
  async run({ args }) {
    checkArguments(ARGS, args);
    const port = wholeNumber("port", args.port, 0, 65_532)!;
    const base = homeBase(args.home);
    const home = agentHome(base, args.id ?? idOfThisHost());
    const keys = interruption();
    prepareHome(home);
    const lock = acquireLock(join(base, "up.lock"), "holdfast up");
    try {
      await runBoth({ base, home, port, json: args.json === true, signal: keys.signal });
    } finally {
      lock.release();
    }
    process.exit(0);
  },
});

interface Both {
  base: string;
  home: ReturnType<typeof agentHome>;
  port: number;
  json: boolean;
  signal: AbortSignal;
}

async function runBoth({ base, home, port, json, signal }: Both): Promise<void> {
  const clock = systemClock();
  const ids = systemIds();
  const notice = (text: string) => void process.stderr.write(`holdfast: ${text}\n`);
  const at = (offset: number) => `127.0.0.1:${port === 0 ? 0 : port + offset}`;
  const tokenFile = join(base, "hub", "admin.token");
  await makeHub(base, tokenFile, at, clock, ids);
  const hub = new Child({
    name: "hub",
    args: (before) => ["hub", "run", "--home", base, ...hubListen(at, before), "--json"],
    env: {},
    clock,
    notice,
  });
  let agent: Child | undefined;
  try {
    const hubReady = (await hub.start()) as unknown as HubReady;
    const target = {
      url: hubReady.api,
      token: readFileSync(tokenFile, "utf8").trim(),
      source: "holdfast up",
    };
    const client = new HubClient({ target, clock, ids, signal });
    placeSample(home.root, home.configFile, home.id);
    await enrollHere({ base, home, client, hubUrl: hubReady.grpc, clock });
    // The hub's ports may be others than last time: what the agent is told here goes before its file.
    agent = new Child({
      name: "agent",
      args: (before) => [
        ...["agent", "run", "--home", base, "--id", home.id, "--json"],
        ...["--health-listen", before === undefined ? at(3) : hostOf(before.health)],
      ],
      env: { HOLDFAST__HUB__URL: hubReady.grpc },
      clock,
      notice,
    });
    const agentReady = (await agent.start()) as unknown as AgentReady;
    const facts = {
      ready: true,
      hub: { api: hubReady.api, grpc: hubReady.grpc, tokenFile },
      agent: { id: home.id, health: agentReady.health, home: home.root },
    };
    console.log(json ? JSON.stringify(facts) : welcome(facts, base));
    await runLiveView({ client, out: standardOutput(process.env), signal, json, after: undefined }).catch(
      (error) => {
        if (!signal.aborted) throw error;
      },
    );
    if (!json) notice("stopping: the agent ends what is under way, then the hub");
  } finally {
    await agent?.stop();
    await hub.stop();
  }
}

/** Where the hub listens: after it died, where the agent and the live view know it. */
function hubListen(at: (offset: number) => string, before: Record<string, unknown> | undefined): string[] {
  const [grpc, api, health] =
    before === undefined
      ? [at(1), at(0), at(2)]
      : [hostOf(before.grpc), hostOf(before.api), hostOf(before.health)];
  return ["--listen", grpc!, "--api", api!, "--health", health!];
}

const hostOf = (url: unknown) => new URL(String(url)).host;

async function makeHub(
  base: string,
  tokenFile: string,
  at: (offset: number) => string,
  clock: ReturnType<typeof systemClock>,
  ids: ReturnType<typeof systemIds>,
): Promise<void> {
  if (existsSync(join(base, "hub"))) return;
  const { initHub } = await import("../../hub/hub.ts");
  const config = {
    sync: { listen: at(1) },
    api: { listen: at(0) },
    health: { listen: at(2) },
    names: ["localhost", "127.0.0.1", "::1"],
  };
  await initHub({ base, config, tokenFile, clock, ids });
}

/** The host's name as an agent id, as far as it can be one. */
function idOfThisHost(): string {
  const name = hostname()
    .replace(/[^\w-]/g, "-")
    .slice(0, 64);
  return AGENT_ID.test(name) ? name : "agent-01";
}

function welcome(
  facts: {
    hub: { api: string; grpc: string; tokenFile: string };
    agent: { id: string; health: string; home: string };
  },
  base: string,
): string {
  const { hub, agent } = facts;
  const command = invocation();
  const where = process.argv.includes("--home") ? ` --home ${base}` : "";
  return [
    `Holdfast is up.`,
    `  hub    ${hub.api}   (agents connect to ${hub.grpc}; API token in ${hub.tokenFile})`,
    `  agent  ${agent.id}   (health ${agent.health})`,
    `  look   ${agent.home}`,
    ``,
    `Try in another terminal:`,
    `  echo "ERROR disk on fire" >> ${join(agent.home, "sample.log")} && sleep 1 && cat ${join(agent.home, "reactions.log")}`,
    `  ${command} runs list${where}`,
    ``,
    `Events and runs as they happen (Ctrl-C ends):`,
  ].join("\n");
}
