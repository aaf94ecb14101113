import type { ConfigOrigin, WorkerFacts } from "../../model/attempt-facts.ts";
import type { CloudEvent } from "../../model/event.ts";
import { explain } from "../../model/explain.ts";
import type { ExplainFacts, Explanation, Relation } from "../../model/explanation.ts";
import type { Json } from "../../model/json.ts";
import type { RunRow } from "../../model/run.ts";
import type { ControlPorts, FoundRun } from "./control-ports.ts";
import { localUserName } from "./user-id.ts";

/** Runs that one comes from, and events that led to one, that are told. Chains of events end far below this by themselves. */
const MAX_CHAIN = 20;

/** What is looked at: the history, the configuration in force, the brake. */
export type ExplainPorts = Pick<ControlPorts, "agent" | "origin" | "heldBack"> & {
  store: Pick<ControlPorts["store"], "run" | "event" | "eventsById" | "texts">;
};

/** Reads all that is behind a run. `step`: only this one of its steps is told. */
export async function explainRun(
  ports: ExplainPorts,
  found: FoundRun,
  step: string | undefined,
): Promise<Explanation> {
  const { store, agent } = ports;
  const from = await runsBehind(ports, found.run);
  const events = await eventsBehind(ports, [found.run, ...from.map(({ row }) => row)]);
  const hashes = [found.run, ...from.map(({ row }) => row)].flatMap((run) => run?.config ?? []);
  const configs = Object.fromEntries(
    Object.entries(parsed<ConfigOrigin>(await store.texts([...new Set(hashes)]))).filter(([, config]) =>
      Boolean(config?.rules && config.triggers),
    ),
  );
  const workers = found.attempts.flatMap(({ facts }) => facts?.worker ?? []);
  const names = new Set([found.run.rule, ...events.map(({ source }) => ruleOf(source))]);
  const rules = Object.values(configs).flatMap((config) =>
    [...names].flatMap((name) => (name === null ? [] : (config.rules[name] ?? []))),
  );
  return explain({
    ...{ agent, step, from, events, configs },
    number: found.number,
    run: found.run,
    steps: found.steps,
    attempts: found.attempts,
    definition: found.definition,
    workers: parsed<WorkerFacts>(await store.texts([...new Set(workers)])),
    rules: parsed<Json>(await store.texts([...new Set(rules)])),
    now: ports.origin(),
    heldBack: ports.heldBack(found.run.id),
    userName: nameOf,
  });
}

async function runsBehind({ store }: ExplainPorts, run: RunRow): Promise<ExplainFacts["from"]> {
  const from: ExplainFacts["from"] = [];
  for (let here: RunRow | null = run; here !== null && from.length < MAX_CHAIN;) {
    const above = aboveOf(here);
    if (above === null || from.some(({ id }) => id === above.id)) break;
    const row: RunRow | null = (await store.run(above.id))?.run ?? null;
    from.push({ ...above, row });
    here = row;
  }
  return from;
}

function aboveOf({
  parent,
  retryOf,
  starter,
}: RunRow): Pick<ExplainFacts["from"][number], "id" | "step" | "relation"> | null {
  if (retryOf !== null) return { id: retryOf, step: null, relation: "retry" };
  if (parent === null) return null;
  const relations: Partial<Record<string, Relation>> = { spawn: "spawn", schedule: "later" };
  return { id: parent.run, step: parent.step, relation: relations[starter.kind] ?? "parent" };
}

/** From the event of the run, or of the first run behind it that has one, to the first cause. */
async function eventsBehind(
  { store }: ExplainPorts,
  runs: (RunRow | null)[],
): Promise<ExplainFacts["events"]> {
  const first = runs.find((run) => run?.eventSource != null && run.eventId !== null);
  if (!first) return [];
  const { eventSource: source, eventId: id } = first as { eventSource: string; eventId: string };
  let event: CloudEvent | null = await store.event(source, id);
  const chain: ExplainFacts["events"] = [{ source, id, event }];
  while (event?.causationid !== undefined && chain.length < MAX_CHAIN) {
    const cause: string = event.causationid;
    const seen = (one: CloudEvent) => chain.some((each) => each.id === one.id && each.source === one.source);
    const found: CloudEvent[] = await store.eventsById(cause);
    // Its cause is not younger than itself; where several have this id it is the last of them.
    event = found.find((one) => !seen(one) && (one.hops ?? 0) < (event?.hops ?? 0)) ?? null;
    chain.push({ source: event?.source ?? null, id: cause, event });
  }
  return chain;
}

function ruleOf(source: string | null): string | null {
  return source === null ? null : (/^[^/]*\/rule:(.*)$/s.exec(source)?.[1] ?? null);
}

/** A text that is damaged counts as one that is not there. */
function parsed<T>(texts: Record<string, string>): Record<string, T> {
  return Object.fromEntries(
    Object.entries(texts).flatMap(([hash, text]) => {
      try {
        return [[hash, JSON.parse(text) as T]];
      } catch {
        return [];
      }
    }),
  );
}

function nameOf(uid: number): string | undefined {
  try {
    return localUserName(uid);
  } catch {
    // Names are a help; the number says who it was.
    return undefined;
  }
}
