import { compileHotCode } from "../core/jit.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { SecretMasker } from "../core/secret-masker.ts";
import { Histogram } from "../core/histogram.ts";
import type { Ids } from "../core/ids.ts";
import type { TimeWatch } from "../core/time-watch.ts";
import type { Logger } from "../core/logger.ts";
import type { PartStatus } from "../model/agent-status.ts";
import type { WorkerFacts } from "../model/attempt-facts.ts";
import type { ProposedEvent } from "../model/event.ts";
import { parseSize } from "../core/size.ts";
import { CLOCK_TRIGGER } from "../model/clock-event.ts";
import type { Config } from "../model/config.ts";
import { parseDuration } from "../core/duration.ts";
import type { Addition, PipelineDefinition } from "../model/pipeline.ts";
import type { RuleDefinition } from "../model/rule.ts";
import { OUTPUTS_TRIGGER } from "../model/output-batch.ts";
import { SCHEDULE_PREFIX, type ScheduleDefinition } from "../model/schedule.ts";
import { createInvoker } from "./actions/invoker.ts";
import { EventRecorder } from "./events/recorder.ts";
import { FindingChanges } from "./findings/finding-changes.ts";
import { localUserId } from "./local/user-id.ts";
import { gapEvent, lostTriggers } from "./lost-triggers.ts";
import { maskedWrites } from "./masked-writes.ts";
import type { Memory } from "./memory/memory.ts";
import { AGENT_TRIGGER } from "../model/brake.ts";
import { originOfConfig, WorkerTexts } from "./origins.ts";
import { Outputs } from "./outputs/outputs.ts";
import type { Catalog } from "./plugins/catalog.ts";
import type { Parameters } from "./parameters/parameters.ts";
import type { Collected } from "./rules/collected.ts";
import { RuleSet } from "./rules/rule-set.ts";
import { RunEngine } from "./runs/engine.ts";
import { LaterRuns } from "./schedules/later-runs.ts";
import { Schedules } from "./schedules/schedules.ts";
import type { AgentStore } from "./store/port.ts";
import type { Brake } from "./silences/brake.ts";
import type { Silences } from "./silences/silences.ts";
import { Triggers } from "./triggers/triggers.ts";
import type { Workers } from "./workers/workers.ts";

export interface AutomationOptions {
  config: Config;
  rules: RuleDefinition[];
  pipelines: Map<string, PipelineDefinition>;
  schedules: ScheduleDefinition[];
  agent: { id: string; labels: Record<string, string> };
  store: AgentStore;
  memory: Memory;
  parameters: Parameters;
  watch: TimeWatch;
  brake: Brake;
  silences: Silences;
  /** What stands for a secret in an input. */
  secretPlace: (name: string) => string;
  masker: SecretMasker;
  catalog: Catalog;
  workers: Workers;
  /** Levels to which the kernel holds workers; null until they are known. */
  protections: () => WorkerFacts["protections"];
  /** Why the policy lets no plugin of this name run, or null. */
  banned: (plugin: string) => string | null;
  clock: Clock;
  ids: Ids;
  log: Logger;
  /** Resolves when a batch of events may be recorded; until then its trigger waits. */
  admit: () => Promise<void>;
}

/**
 * The walk of one event: triggers → events → rules → runs → actions, and the outputs beside it. Each wiring line below
 * is one step of it. Loaded only by an agent that has something to do.
 */
export async function startAutomation(options: AutomationOptions) {
  compileHotCode();
  const { config, memory, catalog, workers, clock, ids, log, agent, masker } = options;
  const store = maskedWrites(options.store, masker);
  const emitSeconds = new Histogram();
  const stepSeconds = new Histogram();
  const timed = async <T>(histogram: Histogram, work: () => Promise<T>): Promise<T> => {
    const started = clock.mono();
    try {
      return await work();
    } finally {
      histogram.observe((clock.mono() - started) / 1000);
    }
  };

  const origin = originOfConfig(config);
  await store.keepTexts(origin.texts);
  const workerTexts = new WorkerTexts((text) => {
    store.keepTexts([text]).catch((error: unknown) => {
      log.warn("what an attempt was made by could not be kept", { reason: messageOf(error) });
    });
  }, options.protections);
  const pool = workers.actionPool({
    idleMs: parseDuration(config.limits.worker_idle),
    workerOf: (plugin, grant) => workerTexts.of(plugin, grant),
  });
  const invoker = createInvoker({
    find: (action) => catalog.get("action", action),
    missing: (action) => catalog.missing("action", action),
    call: (plugin, call, signal) => pool.call(plugin, call, signal),
  });
  const runs = new RunEngine({
    store,
    actions: {
      // Whatever the agent itself says of a call may show its input; what it adds is kept.
      invoke: async (call, signal) => {
        const add = (additions: Addition[]) => call.add(masker.maskValue(additions));
        const outcome = await timed(stepSeconds, () => invoker.invoke({ ...call, add }, signal));
        return masker.maskValue(outcome);
      },
    },
    pipelines: options.pipelines,
    agent,
    config: origin.hash,
    effectOf: (action) => {
      const plugin = catalog.get("action", action);
      return plugin && (plugin.manifest.effect ?? "at-most-once");
    },
    memory: {
      values: (namespace) => memory.snapshot.values(namespace),
      ready: (namespace) => (memory.snapshot.has(namespace) ? null : memory.watch(namespace)),
    },
    parameters: options.parameters,
    secretPlace: options.secretPlace,
    later: { hasRoom: (count) => later.hasRoom(count), added: (rows) => later.added(rows) },
    brake: options.brake,
    uidOf: localUserId,
    clock,
    ids,
    log: log.child("runs"),
    maxSteps: config.limits.steps,
    maxOutputBytes: parseSize(config.limits.output_size),
    maxOpenRuns: config.limits.runs,
    maxSideEffects: config.limits.side_effects,
  });
  const rules = new RuleSet(options.rules, {
    agent,
    newId: () => ids.next(),
    quiet: (facts) => options.silences.of(facts),
    memory: (namespace) => memory.snapshot.values(namespace),
    maxEventBytes: parseSize(config.limits.event_size),
  });
  const outputs = new Outputs({
    find: (plugin) => catalog.get("output", plugin),
    missing: (plugin) => catalog.missing("output", plugin),
    supervise: (part) => workers.superviseOutput(part),
    eventsAfter: (n, limit) => store.eventsAfter(n, limit),
    lastEvent: () => store.lastEvent(),
    cursor: (output) => store.outputCursor(output),
    setCursor: (output, n) => store.setOutputCursor(output, n),
    tell: (event) => events.record(OUTPUTS_TRIGGER, [event], undefined),
    clock,
    ids,
    log: log.child("outputs"),
  });
  const events = new EventRecorder({
    agentId: agent.id,
    store,
    rules,
    runs,
    clock,
    ids,
    log: log.child("events"),
    maxEventBytes: parseSize(config.limits.event_size),
  });
  const triggers = new Triggers();
  // What time brings waits as triggers do, for the limits of the agent and for a place for a run.
  const room = async () => {
    await options.admit();
    await runs.room();
  };
  const later = new LaterRuns({
    waiting: (keys) => store.laterRuns(keys),
    end: (id, state) => store.endLater(id, state),
    record: (trigger, given, ending) => events.recordStarting(trigger, given, { later: ending }),
    refusal: (action) =>
      catalog.get("action", action) ? options.banned(action) : catalog.missing("action", action),
    room,
    clock,
    log: log.child("later"),
  });
  const schedules = new Schedules({
    agentId: agent.id,
    remembered: (keep) => store.checkpointsOf(SCHEDULE_PREFIX, keep),
    record: (trigger, given, checkpoint) => events.recordStarting(trigger, given, { checkpoint }),
    room,
    clock,
    watch: options.watch,
    log: log.child("schedules"),
  });

  // Events of people come one after the other, as a trigger's do.
  let lastEmit = Promise.resolve();
  const emit = (event: ProposedEvent): Promise<void> => {
    const emitted = events.record("manual", [masker.maskValue(event)], undefined, lastEmit);
    lastEmit = emitted.catch(() => {});
    return emitted;
  };

  const findings = new FindingChanges<Collected>({
    find: (id) => store.finding(id),
    change: (stored, change, times) => rules.changeFinding(stored, masker.maskValue(change), times),
    commit: (evaluate) => events.recordChange(evaluate),
  });

  const recovered = await runs.recover();
  if (recovered.runs > 0) log.info("open runs taken up again", recovered);
  for (const namespace of remembering(options.rules)) await memory.watch(namespace);
  await events.start();
  const lost = await lostTriggers(
    store,
    config.triggers.filter((trigger) => trigger.enabled).map(({ name }) => name),
  );
  for (const trigger of lost) {
    events.record(trigger, [gapEvent(store, trigger)], undefined).catch((error: unknown) => {
      log.error("a gap could not be recorded", { trigger, reason: messageOf(error) });
    });
  }
  outputs.start(config.outputs);
  store.onOutbox(() => outputs.poke());
  await schedules.start(options.schedules);
  await later.start();
  triggers.start(config.triggers, {
    find: (plugin) => catalog.get("trigger", plugin),
    missing: (plugin) => catalog.missing("trigger", plugin),
    supervise: (part) => workers.superviseTrigger(part),
    checkpoint: (trigger) => store.checkpoint(trigger),
    lost: (trigger) => lost.has(trigger),
    record: async (trigger, proposed, checkpoint, turn) => {
      await options.admit();
      const kept = masker.maskValue({ proposed, checkpoint });
      await timed(emitSeconds, () => events.record(trigger, kept.proposed, kept.checkpoint, turn));
    },
    log: log.child("triggers"),
  });

  return {
    emitSeconds,
    stepSeconds,
    events: events.counters,
    rules,
    findings,
    runs,
    triggers,
    schedules,
    later,
    pipelines: [...options.pipelines.values()],
    origin: origin.origin,
    emit,
    /** Keeps an event about the host's clock. */
    recordClock: (event: ProposedEvent) => events.record(CLOCK_TRIGGER, [event], undefined),
    /** An event of the agent's own. */
    tell: (event: ProposedEvent) => events.record(AGENT_TRIGGER, [event], undefined),
    workerEnds: () => workers.ends(),
    stopIdleActions: () => pool.stopIdle(),
    parts: (): PartStatus[] => [...triggers.statuses(), ...outputs.statuses(), ...pool.statuses()],
    /** In the order of the walk: intake first, then what is under way. */
    async stop(graceMs: number): Promise<void> {
      await Promise.all([triggers.stop(), schedules.stop(), later.stop()]);
      await events.stop();
      await runs.stop(graceMs);
      await outputs.stop();
      await pool.stop();
    },
  };
}

/** Namespaces whose memory rules may ask for. The word may mean something else: then one is kept at hand for nothing. */
function remembering(rules: RuleDefinition[]): Set<string> {
  const asking = rules.filter((rule) => rule.enabled && JSON.stringify(rule).includes("memory"));
  return new Set(asking.map(({ namespace }) => namespace));
}

export type Automation = Awaited<ReturnType<typeof startAutomation>>;
