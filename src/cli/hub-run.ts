import { type ArgsDef, defineCommand } from "citty";
import { systemClock } from "../core/clock.ts";
import { HoldfastError } from "../core/errors.ts";
import { systemIds } from "../core/ids.ts";
import { LOG_LEVELS, type LogLevel } from "../core/logger.ts";
import { sinceBoot } from "../core/since-boot.ts";
import type { HubConfig } from "../hub/config.ts";
import { HUB_HOME_ARGS, HUB_LISTEN_ARGS, hubBase, listenFlag, namesFrom } from "./hub-args.ts";
import { openProcessLog } from "./process-log.ts";
import { stopSignal } from "./stop-signal.ts";
import { checkArguments } from "./strict-args.ts";

const ARGS = {
  ...HUB_LISTEN_ARGS,
  "log-level": { type: "string", valueHint: "LEVEL", description: `One of ${LOG_LEVELS.join(", ")}` },
  ...HUB_HOME_ARGS,
} as const satisfies ArgsDef;

const LOG_FILE_BYTES = 20 << 20;
const LOG_FILES = 5;

export const hubRun = defineCommand({
  meta: {
    name: "run",
    description: "Run the hub until SIGTERM or Ctrl-C\n\nExample: holdfast hub run",
  },
  args: ARGS,
  async run({ args, rawArgs }) {
    checkArguments(ARGS, args);
    const { hubHome, makeHubFolders, requireHub } = await import("../hub/home.ts");
    const { loadHubConfig, SERVER_NAME } = await import("../hub/config.ts");
    const home = hubHome(hubBase(args.home));
    requireHub(home);
    refuseDatabaseUrl(process.env);
    const config = withFlags(loadHubConfig(home.configFile), args, namesFrom(rawArgs, SERVER_NAME));
    const stopping = stopSignal(process.env);
    const clock = systemClock();
    makeHubFolders(home);
    const { log, dropped, close } = openProcessLog({
      path: home.logFile,
      level: config.log.level,
      maxBytes: LOG_FILE_BYTES,
      maxFiles: LOG_FILES,
      clock,
      component: "hub",
    });
    const { startHub } = await import("../hub/hub.ts");
    try {
      const hub = await startHub({
        ...{ home, config, clock, sinceBoot: sinceBoot(), ids: systemIds(), log },
        logLinesDropped: dropped,
      });
      announce(hub.urls, args.json === true);
      const why = await stopping;
      log.info(`stopping: ${why}`);
      await hub.stop();
    } finally {
      await close();
    }
    // Nothing is left to do; a library's idle timer must not keep us.
    process.exit(0);
  },
});

type Flags = Partial<Record<"listen" | "api" | "health" | "log-level", string>>;

function withFlags(config: HubConfig, flags: Flags, names: string[]): HubConfig {
  const level = flags["log-level"];
  if (level !== undefined && !(LOG_LEVELS as readonly string[]).includes(level)) {
    throw new HoldfastError("usage", `--log-level must be one of ${LOG_LEVELS.join(", ")}, not "${level}"`);
  }
  return {
    ...config,
    sync: { ...config.sync, listen: listenFlag("listen", flags.listen, false) ?? config.sync.listen },
    api: { listen: listenFlag("api", flags.api, true) ?? config.api.listen },
    health: { listen: listenFlag("health", flags.health, true) ?? config.health.listen },
    names: names.length > 0 ? names : config.names,
    log: { level: (level as LogLevel | undefined) ?? config.log.level },
  };
}

/** Better than to write to a SQLite file that nobody expects. */
function refuseDatabaseUrl(env: Record<string, string | undefined>): void {
  if (!env.HOLDFAST_HUB_DATABASE_URL) return;
  throw new HoldfastError(
    "invalid",
    "HOLDFAST_HUB_DATABASE_URL is set, but this version keeps its data in SQLite only: unset it",
  );
}

function announce(urls: { api: string; grpc: string; health: string; mqtt?: string }, json: boolean): void {
  if (json) return console.log(JSON.stringify({ ready: true, ...urls }));
  const broker = urls.mqtt === undefined ? "" : ` and through the broker ${urls.mqtt}`;
  console.log(
    `Hub is ready: API ${urls.api}, agents at ${urls.grpc}${broker}, health ${urls.health}. Ctrl-C stops it.`,
  );
}
