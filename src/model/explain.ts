import { isoOrNull, isoTime } from "../core/iso-time.ts";
import type { ConfigOrigin } from "./attempt-facts.ts";
import { eventSource } from "./event.ts";
import { explainSteps } from "./explain-steps.ts";
import type {
  ExplainedEvent,
  ExplainedRule,
  ExplainedStep,
  ExplainFacts,
  Explanation,
  Who,
} from "./explanation.ts";
import type { RunRow } from "./run.ts";

/** From the steps of a run back to what is behind it (`holdfast runs explain`). */
export function explain(facts: ExplainFacts): Explanation {
  const { agent, number, run, now } = facts;
  const origin = run.config ? facts.configs[run.config] : undefined;
  const who = whoOf(facts);
  const steps = explainSteps(facts, who);
  const rule = run.rule === null ? null : explainRule(run.rule, ruleOrigin(facts), facts);
  return {
    agent,
    run: {
      n: number,
      id: run.id,
      pipeline: run.pipeline,
      version: run.definition,
      state: run.state,
      reason: run.reason,
      params: run.params,
      priority: run.priority,
      concurrencyKey: run.concurrencyKey,
      stop: run.stop && { state: run.stop.state, reason: run.stop.reason, ...who(run.stop.by) },
      createdAt: isoTime(run.createdMs),
      startedAt: isoOrNull(run.startedMs),
      endedAt: isoOrNull(run.endedMs),
      held: heldRun(facts),
    },
    steps,
    started: { kind: run.starter.kind, ...who(run.starter.by), schedule: scheduleOf(run) },
    rule,
    events: facts.events.map((each) => explainEvent(each, facts, origin)),
    from: facts.from.map(({ id, step, relation, row }) => ({
      ...{ id, step, relation, gone: row === null },
      pipeline: row?.pipeline ?? null,
      state: row?.state ?? null,
      started: row && { kind: row.starter.kind, ...who(row.starter.by) },
      createdAt: row && isoTime(row.createdMs),
    })),
    config: origin ? { hash: origin.config, inForce: now && now.config === origin.config } : null,
    missing: missingOf(facts, origin, rule, steps),
  };
}

function heldRun({ run, heldBack }: ExplainFacts): string | null {
  if (heldBack?.whole) return heldBack.reason;
  if (run.state === "waiting") return run.reason ?? "waits for the lock of its pipeline";
  return run.state === "skipped" ? (run.stop?.reason ?? run.reason) : null;
}

/** A run that another one began has the rule of that one: its version is that of the first of them. */
function ruleOrigin({ run, from, configs }: ExplainFacts): ConfigOrigin | undefined {
  const chain = [run, ...from.map(({ row }) => row)];
  const fired = chain.find((row) => row?.starter.kind === "rule") ?? run;
  return fired.config ? configs[fired.config] : undefined;
}

function explainRule(
  name: string,
  origin: ConfigOrigin | undefined,
  { rules, now }: Pick<ExplainFacts, "rules" | "now">,
): ExplainedRule {
  const version = origin?.rules[name] ?? null;
  const current = now?.rules[name];
  const standing = current === undefined ? "gone" : current === version ? "same" : "changed";
  return {
    ...{ name, version },
    now: version === null || now === null ? null : standing,
    text: version === null ? null : (rules[version] ?? null),
  };
}

function explainEvent(
  { source, id, event }: ExplainFacts["events"][number],
  facts: ExplainFacts,
  origin: ConfigOrigin | undefined,
): ExplainedEvent {
  const trigger = triggerOf(source, facts.agent);
  const rule = trigger?.startsWith("rule:") ? trigger.slice("rule:".length) : null;
  return {
    ...{ source, id, gone: event === null, trigger },
    plugin: (trigger !== null && origin?.triggers[trigger]) || null,
    rule: rule === null ? null : explainRule(rule, origin, facts),
    type: event?.type ?? null,
    subject: event?.subject ?? null,
    severity: event?.severity ?? null,
    time: event?.time ?? null,
    data: event?.data ?? null,
    hops: event === null ? null : (event.hops ?? 0),
  };
}

function triggerOf(source: string | null, agent: string): string | null {
  const prefix = eventSource(agent, "");
  return source?.startsWith(prefix) ? source.slice(prefix.length) : null;
}

/** `local:0` with the name of the user. */
function whoOf({ userName }: ExplainFacts): (by: string) => Who {
  return (by) => {
    const uid = /^local:(\d+)$/.exec(by)?.[1];
    return { by, user: (uid !== undefined && userName(Number(uid))) || null };
  };
}

/** One that was put off names itself, and no schedule. */
function scheduleOf({ starter, parent }: RunRow): string | null {
  return starter.kind === "schedule" && parent === null ? starter.by : null;
}

function missingOf(
  { run, from, events }: ExplainFacts,
  origin: ConfigOrigin | undefined,
  rule: ExplainedRule | null,
  steps: ExplainedStep[],
): string[] {
  const older = "not recorded (made by an older version, or lost with a damaged store)";
  const missing: string[] = [];
  if (origin === undefined) missing.push(`the configuration in force when it was made: ${older}`);
  if (rule !== null && rule.text === null)
    missing.push(`the text of rule ${rule.name} as it stood then: ${older}`);
  for (const { step, attempts } of steps)
    if (attempts.some(({ state, worker }) => state !== "running" && worker === null))
      missing.push(
        `what carried out step ${step}: not recorded (no worker was asked, the agent was killed meanwhile, or an older version made it)`,
      );
  for (const { id, event } of events)
    if (event === null)
      missing.push(`event ${id}: gone from the history, and with it what may have caused it`);
  for (const { id, row } of from)
    if (row === null) missing.push(`run ${id}: gone from the history, and with it where it came from`);
  if (run.rule !== null && events.length === 0)
    missing.push("the event that its rule looked at: not recorded");
  return missing;
}
