import { HoldfastError } from "../core/errors.ts";
import { startHealthPort } from "../core/health-port.ts";
import { parseListen } from "../core/listen.ts";
import { keepTrustedTime } from "../core/trusted-time.ts";
import { VERSION } from "../core/version.ts";
import { AGENT_TRIGGER } from "../model/brake.ts";
import type { Config } from "../model/config.ts";
import type { ProposedEvent } from "../model/event.ts";
import type { JsonObject } from "../model/json.ts";
import type { AgentOptions, RunningAgent, SharedWithWorkers } from "./agent-options.ts";
import { type AgentReport, agentReport, type LiveAgent } from "./agent-report.ts";
import { openShared, type SharedParts } from "./agent-shared.ts";
import type { Automation } from "./automation.ts";
import { recordAlone, watchClock } from "./clock-watch.ts";
import { startControlSocket } from "./local/control-socket.ts";
import { PluginStates } from "./memory/plugin-states.ts";
import { MemorySession } from "./memory/session.ts";
import { LossWatch } from "./loss-watch.ts";
import { EmitGate } from "./self-limits/emit-gate.ts";
import { configuredRetention } from "./store/configured-retention.ts";
import { openAgentStore } from "./store/open-agent-store.ts";
import type { AgentStore } from "./store/port.ts";
import { keepHistory, keepOnlyTheNewest, timeMarks } from "./store-upkeep.ts";
import { watchSelf } from "./watch-self.ts";
import { wireAutomation } from "./wire-automation.ts";
import type { Workers } from "./workers/workers.ts";

/** A start is over by then, also one that connects to a hub. */
const SETTLED_MS = 2_000;

/** The agent's composition root: opens the parts in order, each able to see only what it is handed. */
export async function startAgent(options: AgentOptions): Promise<RunningAgent> {
  const { home, id, config, clock, ids, log } = options;
  const live: LiveAgent = {
    ...{ phase: "starting", storeProblem: null, automation: null, sync: null, healthUrl: "" },
  };
  let workers: Workers | null = null;
  const gate = new EmitGate(clock);
  const selfLimits = watchSelf({
    ...options,
    gate,
    automation: () => live.automation,
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
  store.onHealth((problem) => (live.storeProblem = problem));
  if (store.facts.salvage) log.error("the store was corrupt and was set aside", { ...store.facts.salvage });
  const trustedTime = await keepTrustedTime(timeMarks(store), clock, options.sinceBoot);
  const stopHistory = keepHistory(store, clock);
  const shared = await openShared(options, store, async (event) => await live.automation?.tell(event));
  const alone = { store, clock, ids, agentId: id };
  const tell = (event: ProposedEvent): Promise<unknown> =>
    live.automation?.tell(event) ?? recordAlone(alone, event, AGENT_TRIGGER);
  const losses = new LossWatch({
    store,
    record: tell,
    clock,
    log: log.child("outbox"),
  });
  const report = agentReport(options, live, shared, { selfLimits, gate, losses, clock });

  const cleanUp: (() => Promise<void>)[] = [
    () => store.close(),
    async () => trustedTime.stop(),
    async () => stopHistory(),
    async () => losses.stop(),
    () => shared.stop(),
  ];
  const unwind = async () => {
    for (const close of cleanUp.reverse()) await close();
  };
  try {
    await shared.start();
    const healthPort = openHealthPort(options, live, report);
    live.healthUrl = healthPort.url;
    cleanUp.push(() => healthPort.stop());
    const control = openControlSocket(options, live, shared, report);
    cleanUp.push(() => control.stop());
    if (hasWork(config) || (await store.stats()).openRuns > 0) {
      const states = new PluginStates({ memory: shared.memory, clock, log: log.child("states") });
      const plugins = await options.plugins(
        () => [listenerOf(live.healthUrl)],
        forWorkers(shared, states, options),
      );
      cleanUp.push(
        () => states.stop(),
        () => plugins.close(),
      );
      workers = plugins.workers;
      live.automation = await wireAutomation(options, plugins, shared, () => gate.enter());
    }
    const unwatch = watchClock({
      watch: shared.watch,
      record: (event) => live.automation?.recordClock(event) ?? recordAlone(alone, event),
      clock,
      log: log.child("clock"),
    });
    cleanUp.push(async () => unwatch());
    if (config.hub) live.sync = await startSyncing(options, config.hub, store, report.status, tell);
    else keepOnlyTheNewest(store, clock, log);
  } catch (error) {
    await live.automation?.stop(0);
    await unwind();
    throw error;
  }
  shared.brake.start();
  live.phase = "running";
  selfLimits.start();
  // Loading and opening leave garbage that an idle agent would keep for hours.
  const forgetStart = clock.after(SETTLED_MS, () => Bun.gc(true));
  log.info("agent ready", { id, version: VERSION, home: home.root, health: live.healthUrl });

  return {
    healthUrl: live.healthUrl,
    status: report.status,
    async stop(graceMs) {
      live.phase = "draining";
      log.info("agent stops", { graceMs });
      selfLimits.stop();
      forgetStart();
      gate.release();
      await live.automation?.stop(graceMs);
      await live.sync?.stop();
      await trustedTime.keep().catch(() => {});
      await unwind();
      log.info("agent stopped");
    },
  };
}

function openHealthPort(
  { id, config }: AgentOptions,
  live: LiveAgent,
  { checks, parts, syncStatus, metrics }: AgentReport,
) {
  return startHealthPort({
    what: "the agent's health port",
    listen: parseListen(config.health.listen),
    setting: "health.listen",
    checks,
    summary: () => ({ id, version: VERSION, phase: live.phase, parts: parts(), sync: syncStatus().state }),
    metrics,
  });
}

function openControlSocket(
  { home, id, masker, clock, ids, log }: AgentOptions,
  live: LiveAgent,
  { store, memory, parameters, secrets, brake, silences }: SharedParts,
  { refreshStats, status, held }: AgentReport,
) {
  return startControlSocket(home.controlSocket, {
    agent: id,
    status: async () => {
      await refreshStats();
      return status();
    },
    ...{ store, memory, parameters, secrets, brake, silences, held, clock, ids },
    resetTrigger: (name) => live.automation?.triggers.reset(name) ?? false,
    mask: (text) => masker.mask(text),
    engine: () => requireAutomation(live.automation).runs,
    live: () => live.automation?.runs.live() ?? [],
    heldBack: (run) => live.automation?.runs.heldBack(run) ?? null,
    pipelines: () => live.automation?.pipelines ?? [],
    origin: () => live.automation?.origin ?? null,
    linesOf: async (plugins, run, sinceMs) => {
      const { linesOfPlugins } = await import("./local/plugin-lines.ts");
      return await linesOfPlugins(home.pluginLogs, plugins, run, sinceMs);
    },
    rules: () => live.automation?.rules.list() ?? [],
    schedules: () => live.automation,
    emit: (event) => requireAutomation(live.automation).emit(event),
    changeFinding: (finding, change) => requireAutomation(live.automation).findings.make(finding, change),
    log: log.child("control"),
  });
}

/** What workers are let near of what is shared. */
function forWorkers(
  { memory, secrets, places }: SharedParts,
  states: PluginStates,
  { masker }: AgentOptions,
): SharedWithWorkers {
  return {
    memory: { open: (client) => new MemorySession(memory, client, states) },
    secrets: {
      open: (namespace, name) => secrets.open(namespace, name),
      held: (input) => places.held(input),
      fill: (input, names, namespace) => places.fill(input, names, (name) => secrets.open(namespace, name)),
    },
    masking: masker,
  };
}

/** Loaded only by an agent that has a hub. */
async function startSyncing(
  { home, id, config, protections, clock, ids, log }: AgentOptions,
  hub: NonNullable<Config["hub"]>,
  store: AgentStore,
  status: () => JsonObject,
  tell: (event: ProposedEvent) => Promise<unknown>,
) {
  const { wireSync } = await import("./wire-sync.ts");
  return wireSync({
    ...{ hub, backlog: config.sync.backlog, certificates: home.certificates },
    agent: { id, labels: config.agent.labels },
    ...{ store, status, tell, protections, clock, ids, log },
  });
}

function hasWork(config: Config): boolean {
  const { triggers, rules, schedules, outputs, pipelines } = config;
  return (
    triggers.length + rules.length + schedules.length + outputs.length + Object.keys(pipelines).length > 0
  );
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
