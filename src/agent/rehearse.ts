import { hostname } from "node:os";
import type { Clock } from "../core/clock.ts";
import { HoldfastError } from "../core/errors.ts";
import type { Config } from "../model/config.ts";
import { compileHotCode } from "../core/jit.ts";
import { parseSize } from "../core/size.ts";
import { type CloudEvent, eventSource } from "../model/event.ts";
import { CLOCK_TRIGGER } from "../model/clock-event.ts";
import type { PipelineDefinition } from "../model/pipeline.ts";
import type { FindingRow, RuleDefinition } from "../model/rule.ts";
import { pipelineDefinitions, ruleDefinitions } from "./config/definitions.ts";
import { maintenanceDefinitions } from "./config/maintenance-definitions.ts";
import { MemorySnapshot } from "./memory/snapshot.ts";
import { fixedParameters } from "./parameters/fixed-parameters.ts";
import { Parameters } from "./parameters/parameters.ts";
import { numberOf, originOf } from "./rehearsal/deeds.ts";
import { memoryReaders } from "./rehearsal/memory-readers.ts";
import { PastClock } from "./rehearsal/past-clock.ts";
import type { BuildRun, Deed } from "./rehearsal/ports.ts";
import { PastQuiet } from "./rehearsal/past-quiet.ts";
import { Rehearsal, type RehearsalOptions, type Rehearsed } from "./rehearsal/rehearsal.ts";
import { findSpan, longestMemory, type Span } from "./rehearsal/span.ts";
import { MAX_OPEN_FINDINGS } from "./rules/findings.ts";
import { RuleSet } from "./rules/rule-set.ts";
import { RunBuilder } from "./runs/run-builder.ts";
import { StepInputs } from "./runs/step-input.ts";
import { PastReader } from "./store/past-reader.ts";

export interface RehearseOptions {
  /** The store's file, which is only read. */
  store: string;
  /** A copy ends with its last event, and not now. */
  isCopy: boolean;
  /** The agent whose store it is, where nothing in it says so. */
  agentId: string;
  config: Config;
  /** Wall time, from the end of the history in that of the agent (`nowMs`). */
  wanted: (nowMs: number) => { sinceMs: number; untilMs: number };
  clock: Clock;
}

export interface OpenRehearsal {
  agentId: string;
  /** Null when the store has no event of that time. */
  span: Span | null;
  rules: RuleDefinition[];
  /** Rules that read the memory, which is as it is now. */
  readMemory: string[];
  run(take: Pick<RehearsalOptions, "tell" | "settle" | "signal">): Promise<Rehearsed>;
  /** The event behind it; of what happened only where it is asked for. */
  eventOf(deed: Deed): Deed["event"];
  /** When an event came, on the wall clock. */
  timeOf(n: number): number | null;
  close(): void;
}

/**
 * The composition root of `holdfast rules test`: the production rules and pipelines of a proposed configuration over the
 * events of a store. Nothing is started, opened or written.
 */
export async function openRehearsal(options: RehearseOptions): Promise<OpenRehearsal> {
  const past = new PastReader(options.store);
  try {
    return await open(options, past);
  } catch (error) {
    past.close();
    throw error;
  }
}

async function open(options: RehearseOptions, past: PastReader): Promise<OpenRehearsal> {
  const { config, clock } = options;
  const bounds = past.bounds();
  const last = bounds && past.event(bounds.last);
  const agentId = (last && originOf(last.source)?.agent) ?? options.agentId;
  const nowMs = options.isCopy && last ? last.recordedMs : clock.wall();
  const { sinceMs, untilMs } = options.wanted(nowMs);
  const definitions = ruleDefinitions(config);
  const pastClock = new PastClock(past, [eventSource(agentId, CLOCK_TRIGGER)]);
  const warmUpMs = longestMemory(definitions);
  const span = findSpan(past, pastClock, { sinceMs, untilMs, warmUpMs, nowMs });
  const agent = { id: agentId, labels: config.agent.labels };
  const readers = memoryReaders(definitions);
  const memory = memoryNow(past, clock, new Set(readers.map(({ namespace }) => namespace)));
  const windows = maintenanceDefinitions(config, () => Intl.DateTimeFormat().resolvedOptions().timeZone);
  const quiet = new PastQuiet(past.silences(), windows, agent.labels);
  let ids = 0;
  const newId = () => `rehearsed-${++ids}`;
  const rules = new RuleSet(definitions, {
    agent,
    newId,
    memory: (namespace) => memory.values(namespace),
    maxEventBytes: parseSize(config.limits.event_size),
    quiet: (facts) => quiet.of(facts),
  });
  const build = await runBuilder(options, past, agent, newId);
  return {
    agentId,
    span,
    rules: definitions,
    readMemory: readers.map(({ name }) => name),
    run: async (take) => {
      if (span === null) throw new HoldfastError("not_found", "the store has no event of that time");
      compileHotCode();
      const openFindings = openAt(past, pastClock, span, definitions);
      const given = { past, clock: pastClock, span, rules, build, openFindings, moment: quiet.moment };
      const rehearsed = await new Rehearsal({ ...given, ...take }).run();
      past.checkStill();
      return rehearsed;
    },
    eventOf: (deed) => deed.event ?? eventOf(past, deed),
    timeOf: (n) => past.event(n)?.recordedMs ?? null,
    close: () => past.close(),
  };
}

function eventOf(past: PastReader, { root }: Deed): Deed["event"] {
  const n = numberOf(root);
  const row = n === null ? null : past.event(n);
  if (row === null) return null;
  const { subject } = JSON.parse(past.body(row)) as CloudEvent;
  return { source: row.source, id: row.id, type: row.type, subject: subject ?? null };
}

function memoryNow(past: PastReader, clock: Clock, namespaces: Set<string>): MemorySnapshot {
  const memory = new MemorySnapshot(() => clock.trusted());
  for (const namespace of namespaces) {
    memory.begin(namespace);
    memory.fill(namespace, past.memory(namespace));
  }
  return memory;
}

/** Runs are made as the engine makes them, and thrown away: what is wanted is whether they can be, and their parameters. */
async function runBuilder(
  { config, clock }: RehearseOptions,
  past: PastReader,
  agent: { id: string; labels: Record<string, string> },
  newId: () => string,
): Promise<BuildRun> {
  const set = past.parameters();
  const fixed = fixedParameters(config);
  const refused = () => Promise.reject(new HoldfastError("denied", "a rehearsal writes nothing"));
  const parameters = new Parameters({
    // The values of secret ones stay sealed.
    store: {
      parameters: async () => set.filter(({ secret }) => !secret),
      setParameter: refused,
      removeParameter: refused,
    },
    fixed,
    facts: { agent_id: agent.id, hostname: hostname(), os: process.platform, arch: process.arch },
    clock,
  });
  await parameters.start();
  const secret = set.filter((each) => each.secret);
  const pipelines = pipelineDefinitions(config, () => "at-most-once");
  for (const [name, pipeline] of pipelines) {
    const names = secret
      .filter(({ namespace }) => namespace === null || namespace === pipeline.namespace)
      .map((each) => each.name);
    pipelines.set(name, withoutSecret(pipeline, names));
  }
  const builder = new RunBuilder({
    config: undefined,
    pipelines,
    inputs: new StepInputs(agent, { parameters }),
    shared: parameters,
    clock,
    ids: { next: newId, random: () => 0, hex: () => newId() },
  });
  return ({ rule, pipeline, event, params }) =>
    builder.build({ pipeline, starter: { kind: "rule", by: rule }, event, params }).run.params;
}

/** A parameter whose value is sealed is there for a run, and is not looked into here. */
function withoutSecret(pipeline: PipelineDefinition, secret: string[]): PipelineDefinition {
  const params = pipeline.params.map((each) =>
    secret.includes(each.name) ? { ...each, required: false } : each,
  );
  return { ...pipeline, params };
}

/** What was open when the rehearsal begins, as far as its rules would have found it. */
function openAt(
  past: PastReader,
  clock: PastClock,
  { warmFrom, warmMs }: Span,
  rules: RuleDefinition[],
): FindingRow[] {
  // Nothing came before, or times do not tell what did.
  if (warmFrom === 1 || clock.jumpedSince(warmFrom)) return [];
  const byName = new Map(rules.filter((rule) => rule.enabled).map((rule) => [rule.name, rule]));
  return past.findingsOpenAt(warmMs, MAX_OPEN_FINDINGS).flatMap((row): FindingRow[] => {
    const rule = byName.get(row.rule);
    if (rule === undefined) return [];
    const { resolution: _, resolveAtMs: __, ...extra } = row.extra ?? {};
    const outcome = rule.outcomes.find((each) => each.kind === "finding");
    const afterMs = row.lastMs < warmMs ? outcome?.resolveAfterMs : undefined;
    const resolveAtMs = afterMs === undefined ? {} : { resolveAtMs: row.lastMs + afterMs };
    return [{ ...row, state: "open", resolvedMs: null, extra: { ...extra, ...resolveAtMs } }];
  });
}
