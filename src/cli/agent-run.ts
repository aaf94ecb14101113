import { join } from "node:path";
import { type ArgsDef, defineCommand } from "citty";
import { type AgentHome, agentHome, placeStarterConfig, prepareHome } from "../agent/config/home.ts";
import { systemClock } from "../core/clock.ts";
import { HoldfastError } from "../core/errors.ts";
import { systemIds } from "../core/ids.ts";
import { acquireLock } from "../core/lock-file.ts";
import { type LogFile, openLogFile } from "../core/log-file.ts";
import { LOG_LEVELS } from "../core/logger.ts";
import { SecretMasker } from "../core/secret-masker.ts";
import { sinceBoot } from "../core/since-boot.ts";
import { parseSize } from "../core/size.ts";
import { findAgentHome, HOME_ARGS, homeBase } from "./home-args.ts";
import { openProcessLog } from "./process-log.ts";
import { settingsInProcess } from "./settings-process.ts";
import type { StartSettings } from "./start-settings.ts";
import { stopSignal } from "./stop-signal.ts";
import { checkArguments } from "./strict-args.ts";

const ARGS = {
  ...HOME_ARGS,
  "health-listen": {
    type: "string",
    valueHint: "HOST:PORT",
    description: "Loopback address of the health port; port 0 is any free one",
  },
  "log-level": { type: "string", valueHint: "LEVEL", description: `One of ${LOG_LEVELS.join(", ")}` },
  json: { type: "boolean", description: "Print one JSON line when ready" },
} as const satisfies ArgsDef;

type StartAgent = typeof import("../agent/agent.ts").startAgent;

/** Time that steps under way get to end when the agent is asked to stop. */
const GRACE_MS = 10_000;

export const agentRun = defineCommand({
  meta: {
    name: "run",
    description:
      "Run the agent until SIGTERM or Ctrl-C; the first start makes its home\n\nExample: holdfast agent run --id web-01",
  },
  args: ARGS,
  async run({ args }) {
    checkArguments(ARGS, args);
    const home = args.id === undefined ? findAgentHome(args) : agentHome(homeBase(args.home), args.id);
    const stopping = stopSignal(process.env);
    prepareHome(home);
    const lock = acquireLock(home.lockFile, `agent ${home.id}`);
    try {
      placeStarterConfig(home);
      // What the agent is made of is loaded while another process reads the settings.
      const [settings, { startAgent }] = await Promise.all([
        load(home, args["health-listen"], args["log-level"]),
        import("../agent/agent.ts"),
      ]);
      await runAgent(startAgent, home, settings, stopping, args.json === true);
    } finally {
      lock.release();
    }
    // Nothing is left to do; a library's idle timer must not keep us.
    process.exit(0);
  },
});

async function load(
  home: AgentHome,
  healthListen: string | undefined,
  logLevel: string | undefined,
): Promise<StartSettings> {
  const settings = await settingsInProcess({
    base: home.base,
    id: home.id,
    flags: { id: home.id, "health.listen": healthListen, "log.level": logLevel },
  });
  const { hub } = settings.config;
  if (hub && !(await Bun.file(home.certificateFile).exists())) {
    throw new HoldfastError(
      "failed",
      `agent ${home.id} is to report to ${hub.url} but is not enrolled: run holdfast agent enroll --id ${home.id} --hub ${hub.url} --token … --ca-pin …, or take hub out of ${home.configFile}`,
    );
  }
  return settings;
}

async function runAgent(
  startAgent: StartAgent,
  home: AgentHome,
  { config, policy }: StartSettings,
  stopping: Promise<string>,
  json: boolean,
): Promise<void> {
  const clock = systemClock();
  const ids = systemIds();
  const maxBytes = parseSize(config.log.max_size);
  const maxFiles = config.log.max_files;
  const masker = new SecretMasker();
  const { log, dropped, close } = openProcessLog({
    mask: (text) => masker.mask(text),
    path: home.logFile,
    level: config.log.level,
    maxBytes,
    maxFiles,
    clock,
    component: "agent",
    base: { agent: home.id },
  });
  const files = new Map<string, LogFile>();
  const pluginLog = (name: string): LogFile => {
    const file =
      files.get(name) ??
      openLogFile({
        path: join(home.pluginLogs, `${name}.log`),
        maxBytes,
        maxFiles,
        wall: () => clock.wall(),
      });
    files.set(name, file);
    return file;
  };
  const { kernel, protections } = await lookAtHost(policy.sandbox);
  try {
    const agent = await startAgent({
      home,
      id: home.id,
      config,
      plugins: async (ownListeners, shared) => {
        const { openPlugins } = await import("./open-plugins.ts");
        const { labels } = config.agent;
        return await openPlugins({
          home,
          labels,
          kernel: await kernel,
          pluginLog: (name) => masker.sink(pluginLog(name)),
          ownListeners,
          ...shared,
          clock,
          ids,
          log,
        });
      },
      masker,
      credentials: process.env.CREDENTIALS_DIRECTORY,
      passphraseFile: process.env.HOLDFAST_SECRETS_PASSPHRASE_FILE,
      protections,
      policy,
      clock,
      sinceBoot: sinceBoot(),
      ids,
      log,
      logLinesDropped: dropped,
    });
    const facts = { ready: true, id: home.id, health: agent.healthUrl, home: home.root };
    console.log(
      json
        ? JSON.stringify(facts)
        : `Agent ${home.id} is ready: home ${home.root}, health ${agent.healthUrl}. Ctrl-C stops it.`,
    );
    log.info(`stopping: ${await stopping}`);
    await agent.stop(GRACE_MS);
  } finally {
    for (const file of files.values()) await file.close();
    await close();
  }
}

/** What the agent tells of its host before anything runs. The kernel is probed beside the start, not before it. */
async function lookAtHost(sandbox: StartSettings["policy"]["sandbox"]) {
  const [{ probeInProcess }, { protectionsOf }, { selfCommand }] = await Promise.all([
    import("../agent/workers/sandbox/probe-process.ts"),
    import("../agent/workers/sandbox/protections.ts"),
    import("../agent/workers/self-command.ts"),
  ]);
  const kernel = probeInProcess(selfCommand().command);
  return { kernel, protections: kernel.then((facts) => protectionsOf(facts, sandbox, { uid: facts.root })) };
}
