import { hostname } from "node:os";
import type { Clock } from "../core/clock.ts";
import { HoldfastError } from "../core/errors.ts";
import { type Check, startHealthPort } from "../core/health-port.ts";
import { Histogram } from "../core/histogram.ts";
import type { Ids } from "../core/ids.ts";
import type { SecretMasker } from "../core/secret-masker.ts";
import type { SinceBoot } from "../core/since-boot.ts";
import { TimeWatch } from "../core/time-watch.ts";
import { keepTrustedTime } from "../core/trusted-time.ts";
import { parseListen } from "../core/listen.ts";
import type { Logger } from "../core/logger.ts";
import { renderMetrics } from "../core/metrics.ts";
import { VERSION } from "../core/version.ts";
import { AGENT_TRIGGER } from "../model/brake.ts";
import type { PartStatus } from "../model/agent-status.ts";
import type { WorkerFacts } from "../model/attempt-facts.ts";
import { levelsOf, type Protections } from "../model/protection.ts";
import type { Config } from "../model/config.ts";
import type { ProposedEvent } from "../model/event.ts";
import type { MaintenanceDefinition } from "../model/maintenance.ts";
import type { JsonObject } from "../model/json.ts";
import { agentChecks } from "./agent-checks.ts";
import { recordAlone, watchClock } from "./clock-watch.ts";
import type { Automation } from "./automation.ts";
import type { AgentHome } from "./config/home.ts";
import { brakeView } from "./local/brake-view.ts";
import { startControlSocket } from "./local/control-socket.ts";
import { linesOfPlugins } from "./local/plugin-lines.ts";
import type { Catalog } from "./plugins/catalog.ts";
import { Memory } from "./memory/memory.ts";
import { fixedParameters } from "./parameters/fixed-parameters.ts";
import { Parameters } from "./parameters/parameters.ts";
import { sealedParameters } from "./parameters/sealed-parameters.ts";
import { PluginStates } from "./memory/plugin-states.ts";
import { MemorySession } from "./memory/session.ts";
import { masterKeys } from "./secrets/master-keys.ts";
import { SecretPlaces } from "./secrets/secret-places.ts";
import { Secrets } from "./secrets/secrets.ts";
import { Brake } from "./silences/brake.ts";
import { Silences } from "./silences/silences.ts";
import { MaintenanceWindows } from "./silences/windows.ts";
import { EmitGate } from "./self-limits/emit-gate.ts";
import { configuredRetention } from "./store/configured-retention.ts";
import { openAgentStore } from "./store/open-agent-store.ts";
import type { AgentStore, StoreStats } from "./store/port.ts";
import { SYNC_OFF, type SyncStatus } from "./sync/sync-status.ts";
import type { MemoryPort } from "./workers/memory-port.ts";
import type { SecretPort } from "./workers/secret-port.ts";
import type { Workers } from "./workers/workers.ts";
import { LossWatch } from "./loss-watch.ts";
import { keepHistory, keepOnlyTheNewest, timeMarks } from "./store-upkeep.ts";
import { watchSelf } from "./watch-self.ts";

export interface AgentOptions {
  home: AgentHome;
  id: string;
  config: Config;
  /** Called once, and only by an agent that has something to run. `ownListeners` are ports that no worker may reach. */
  plugins: (
    ownListeners: () => { host: string; port: number }[],
    shared: { memory: MemoryPort; secrets: SecretPort; masking: SecretMasker },
  ) => Promise<AgentPlugins>;
  /** What this host's kernel holds workers to. */
  protections: Promise<Protections>;
  /** The policy over plugins: where it is from, and why nothing may start, if so. */
  policy: { text: string; problem: string | null };
  /** Knows every secret that was handed out; the logs of the caller use it as well. */
  masker: SecretMasker;
  /** Where systemd puts credentials, and a file with a passphrase: keys for secrets, beside the one in the home. */
  credentials: string | undefined;
  passphraseFile: string | undefined;
  clock: Clock;
  sinceBoot: SinceBoot;
  ids: Ids;
  log: Logger;
  logLinesDropped: () => number;
}

export interface AgentPlugins {
  catalog: Catalog;
  workers: Workers;
  /** Why the policy lets no plugin of this name run, or null. */
  banned(plugin: string): string | null;
  close(): Promise<void>;
}

export interface RunningAgent {
  healthUrl: string;
  status(): JsonObject;
  /** Stops intake, lets steps under way end within `graceMs`, then closes the store. */
  stop(graceMs: number): Promise<void>;
}

/** A disk that hangs must not keep the status from whoever looks for the reason. */
const STATS_WAIT_MS = 1_000;
/** A start is over by then, also one that connects to a hub. */
const SETTLED_MS = 2_000;

/** The agent's composition root: opens the parts in order, each able to see only what it is handed. */
export async function startAgent(options: AgentOptions): Promise<RunningAgent> {
  const { home, id, config, clock, ids, log, masker } = options;
  const startedMono = clock.mono();
  const agent = { id, labels: config.agent.labels };
  let phase: "starting" | "running" | "draining" = "starting";
  let storeProblem: string | null = null;
  let stats: StoreStats | null = null;
  let automation: Automation | null = null;
  let protections: Protections | null = null;
  void options.protections.then((known) => (protections = known));
  let sync: { status(): SyncStatus; stop(): Promise<void> } | null = null;
  let workers: Workers | null = null;
  const gate = new EmitGate(clock);
  const selfLimits = watchSelf({
    ...options,
    gate,
    automation: () => automation,
    workers: () => workers,
  });

  const store = await openAgentStore({
    path: home.database,
    ids,
    wall: () => clock.wall(),
    time: clock,
    after: (ms, callback) => clock.after(ms, callback),
    retention: configuredRetention(config),
  });
  store.onHealth((problem) => (storeProblem = problem));
  const trustedTime = await keepTrustedTime(timeMarks(store), clock, options.sinceBoot);
  const stopHistory = keepHistory(store, clock);
  const watch = new TimeWatch(clock, () => options.sinceBoot.uptimeMs());
  const secrets = openSecrets(options, store);
  const parameters = new Parameters({
    store: sealedParameters(store, secrets),
    fixed: fixedParameters(config),
    facts: { agent_id: id, hostname: hostname(), os: process.platform, arch: process.arch },
    handedOut: (value) => masker.add(value),
    clock,
  });
  const places = new SecretPlaces(ids.hex(16));
  const memory = new Memory({ store, clock, log: log.child("memory") });
  const windows = new MaintenanceWindows(await windowsOf(config), clock, log.child("maintenance"));
  const { labels } = config.agent;
  const silences = new Silences({ store, windows, labels, clock, ids, log: log.child("silences") });
  const brake = new Brake({
    store,
    windows: () =>
      windows
        .open()
        .flatMap(({ definition: { name, brake }, untilMs }) => (brake ? [{ name, untilMs }] : [])),
    tell: async (event) => await automation?.tell(event),
    clock,
    log: log.child("brake"),
  });
  if (store.facts.salvage) log.error("the store was corrupt and was set aside", { ...store.facts.salvage });

  const tell = (event: ProposedEvent): Promise<unknown> =>
    automation?.tell(event) ?? recordAlone({ store, clock, ids, agentId: id }, event, AGENT_TRIGGER);
  const losses = new LossWatch({
    store,
    record: tell,
    clock,
    log: log.child("outbox"),
  });

  const parts = (): PartStatus[] => automation?.parts() ?? [];
  const held = () => automation?.runs.gauges().heldBack ?? { runs: 0, steps: 0 };
  const syncStatus = (): SyncStatus => sync?.status() ?? SYNC_OFF;
  const checks = (): Check[] => [
    ...agentChecks({
      phase,
      storeProblem,
      salvage: store.facts.salvage,
      parts: parts(),
      sync: syncStatus(),
      rules: automation?.rules.list() ?? [],
      runProblem: automation?.runs.problem() ?? null,
      policyProblem: options.policy.problem,
      secretProblem: secrets.problem(),
      clockBehindMs: clock.trusted() - clock.wall(),
      brake: brake.reason(),
      outboxProblem: losses.problem(),
    }),
    selfLimits.check(),
  ];
  const status = (): JsonObject =>
    ({
      id,
      version: VERSION,
      pid: process.pid,
      phase,
      uptimeMs: Math.round(clock.mono() - startedMono),
      home: home.root,
      health: healthPort.url,
      checks: checks(),
      parts: parts(),
      resources: selfLimits.uses(),
      runs: { open: automation?.runs.openRuns ?? 0, stepsRunning: automation?.runs.stepsInFlight ?? 0 },
      asking: automation?.runs.asking() ?? [],
      locks: automation?.runs.locks() ?? [],
      schedules: automation?.schedules.states() ?? {},
      brake: brakeView(brake.state(), held(), { wallMs: clock.wall(), trustedMs: clock.trusted() }),
      silences: {
        active: silences.active,
        maintenance: windows.open().map(({ definition }) => definition.name),
      },
      sync: syncStatus(),
      store: { epoch: store.facts.epoch, salvage: store.facts.salvage, ...(stats ?? {}) },
      protections,
      policy: options.policy.text,
    }) as unknown as JsonObject;
  const refreshStats = async () => {
    const late = clock.sleep(STATS_WAIT_MS).then(() => stats);
    stats = await Promise.race([store.stats().catch(() => stats), late]);
  };
  const metrics = async () => {
    const { agentMetrics } = await import("./local/agent-metrics.ts");
    stats = await store.stats();
    return await renderMetrics(
      agentMetrics({
        version: VERSION,
        uptimeSeconds: (clock.mono() - startedMono) / 1000,
        events: automation?.events ?? { events: 0, duplicates: 0, refused: 0 },
        rules: automation?.rules.counters() ?? [],
        openFindings: automation?.rules.openFindings() ?? {},
        ruleTotals: automation?.rules.totals ?? { hops: 0, refused: 0 },
        runs: automation && {
          counters: automation.runs.counters,
          gauges: automation.runs.gauges(),
          breakers: automation.runs.breakers(),
        },
        schedules: automation && {
          counters: automation.schedules.counters,
          states: automation.schedules.states(),
          later: { counters: automation.later.counters, waiting: automation.later.waiting },
        },
        store: stats,
        parts: parts(),
        sync: syncStatus(),
        logLinesDropped: options.logLinesDropped(),
        emitSeconds: automation?.emitSeconds ?? new Histogram(),
        stepSeconds: automation?.stepSeconds ?? new Histogram(),
        workerEnds: automation?.workerEnds() ?? [],
        clockJumps: watch.jumps,
        resources: selfLimits.uses(),
        resourceCounters: selfLimits.counters,
        batchesWaiting: gate.waiting,
        protections,
        brakeOn: brake.reason() !== null,
        silences: { active: silences.active, windowsOpen: windows.open().length, heldBack: silences.totals },
      }),
    );
  };

  const cleanUp: (() => Promise<void>)[] = [
    () => store.close(),
    async () => trustedTime.stop(),
    async () => stopHistory(),
    async () => losses.stop(),
    async () => memory.stop(),
    () => brake.stop(),
    () => silences.stop(),
    async () => windows.stop(),
  ];
  const unwind = async () => {
    for (const close of cleanUp.reverse()) await close();
  };
  let healthPort: ReturnType<typeof startHealthPort>;
  try {
    await memory.start();
    await secrets.start();
    await parameters.start();
    await brake.load();
    await silences.load();
    windows.onChange(() => brake.update());
    windows.start();
    healthPort = startHealthPort({
      what: "the agent's health port",
      listen: parseListen(config.health.listen),
      setting: "health.listen",
      checks,
      summary: () => ({ id, version: VERSION, phase, parts: parts(), sync: syncStatus().state }),
      metrics,
    });
    cleanUp.push(() => healthPort.stop());
    const control = startControlSocket(home.controlSocket, {
      agent: id,
      status: async () => {
        await refreshStats();
        return status();
      },
      resetTrigger: (name) => automation?.triggers.reset(name) ?? false,
      store,
      memory,
      parameters,
      secrets,
      mask: (text) => masker.mask(text),
      engine: () => requireAutomation(automation).runs,
      live: () => automation?.runs.live() ?? [],
      heldBack: (run) => automation?.runs.heldBack(run) ?? null,
      held,
      brake,
      silences,
      pipelines: () => automation?.pipelines ?? [],
      origin: () => automation?.origin ?? null,
      linesOf: (plugins, run, sinceMs) => linesOfPlugins(home.pluginLogs, plugins, run, sinceMs),
      rules: () => automation?.rules.list() ?? [],
      schedules: () => automation,
      emit: (event) => requireAutomation(automation).emit(event),
      changeFinding: (finding, change) => requireAutomation(automation).findings.make(finding, change),
      clock,
      ids,
      log: log.child("control"),
    });
    cleanUp.push(() => control.stop());

    if (hasWork(config) || (await store.stats()).openRuns > 0) {
      const states = new PluginStates({ memory, clock, log: log.child("states") });
      const ownListeners = () => [listenerOf(healthPort.url)];
      const plugins = await options.plugins(ownListeners, {
        memory: { open: (client) => new MemorySession(memory, client, states) },
        secrets: {
          open: (namespace, name) => secrets.open(namespace, name),
          held: (input) => places.held(input),
          fill: (input, names, namespace) =>
            places.fill(input, names, (name) => secrets.open(namespace, name)),
        },
        masking: masker,
      });
      cleanUp.push(
        () => states.stop(),
        () => plugins.close(),
      );
      workers = plugins.workers;
      automation = await wireAutomation(
        options,
        plugins,
        { store, memory, parameters, places, brake, silences, watch },
        agent,
        () => gate.enter(),
      );
    }
    const alone = { store, clock, ids, agentId: id };
    const unwatch = watchClock({
      watch,
      record: (event) => automation?.recordClock(event) ?? recordAlone(alone, event),
      clock,
      log: log.child("clock"),
    });
    cleanUp.push(async () => unwatch());
    if (config.hub)
      sync = (await import("./wire-sync.ts")).wireSync({
        ...{ hub: config.hub, backlog: config.sync.backlog, certificates: home.certificates },
        ...{ store, agent, status, tell, protections: options.protections, clock, ids, log },
      });
    else keepOnlyTheNewest(store, clock, log);
  } catch (error) {
    await automation?.stop(0);
    await unwind();
    throw error;
  }
  brake.start();
  phase = "running";
  selfLimits.start();
  // Loading and opening leave garbage that an idle agent would keep for hours.
  const forgetStart = clock.after(SETTLED_MS, () => Bun.gc(true));
  log.info("agent ready", { id, version: VERSION, home: home.root, health: healthPort.url });

  return {
    healthUrl: healthPort.url,
    status,
    async stop(graceMs) {
      phase = "draining";
      log.info("agent stops", { graceMs });
      selfLimits.stop();
      forgetStart();
      gate.release();
      await automation?.stop(graceMs);
      await sync?.stop();
      await trustedTime.keep().catch(() => {});
      await unwind();
      log.info("agent stopped");
    },
  };
}

type Agent = { id: string; labels: Record<string, string> };

function hasWork(config: Config): boolean {
  const { triggers, rules, schedules, outputs, pipelines } = config;
  return (
    triggers.length + rules.length + schedules.length + outputs.length + Object.keys(pipelines).length > 0
  );
}

interface Shared {
  store: AgentStore;
  memory: Memory;
  parameters: Parameters;
  places: SecretPlaces;
  brake: Brake;
  silences: Silences;
  watch: TimeWatch;
}

function openSecrets(options: AgentOptions, store: AgentStore): Secrets {
  const { home, ids, clock, log, masker, credentials, passphraseFile } = options;
  const random = (bytes: number) => new Uint8Array(Buffer.from(ids.hex(bytes), "hex"));
  const { secretsKey: file, secretsSalt: salt } = home;
  return new Secrets({
    store,
    masters: (make) => masterKeys({ credentials, file, passphraseFile, salt, random }, make),
    handedOut: (value) => masker.add(value),
    random,
    clock,
    log: log.child("secrets"),
  });
}

async function wireAutomation(
  options: AgentOptions,
  { catalog, workers, banned }: AgentPlugins,
  { store, memory, parameters, places, brake, silences, watch }: Shared,
  agent: Agent,
  admit: () => Promise<void>,
): Promise<Automation> {
  const { config, clock, ids, log } = options;
  const [{ startAutomation }, { pipelineDefinitions, ruleDefinitions, scheduleDefinitions }] =
    await Promise.all([import("./automation.ts"), import("./config/definitions.ts")]);
  await workers.sweep();
  for (const problem of catalog.problems()) log.error("a plugin was left out", { ...problem });
  let levels: WorkerFacts["protections"] = null;
  void options.protections.then((known) => (levels = levelsOf(known)));
  const effectOf = (action: string) => catalog.get("action", action)?.manifest.effect ?? "at-most-once";
  const pipelines = pipelineDefinitions(config, effectOf);
  return await startAutomation({
    config,
    rules: ruleDefinitions(config),
    schedules: scheduleDefinitions(config, () => Intl.DateTimeFormat().resolvedOptions().timeZone),
    pipelines,
    agent,
    store,
    memory,
    parameters,
    brake,
    silences,
    watch,
    secretPlace: (name) => {
      options.masker.add(places.mark);
      return places.placeOf(name);
    },
    masker: options.masker,
    catalog,
    workers,
    protections: () => levels,
    banned,
    clock,
    ids,
    log,
    admit,
  });
}

async function windowsOf(config: Config): Promise<MaintenanceDefinition[]> {
  if (config.maintenance.length === 0) return [];
  const { maintenanceDefinitions } = await import("./config/maintenance-definitions.ts");
  return maintenanceDefinitions(config, () => Intl.DateTimeFormat().resolvedOptions().timeZone);
}

function listenerOf(url: string): { host: string; port: number } {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}

function requireAutomation(automation: Automation | null): Automation {
  if (automation === null)
    throw new HoldfastError(
      "not_found",
      "this agent has nothing to run: its configuration names no triggers, rules, pipelines or outputs",
    );
  return automation;
}
