/** `rules test` against what really happened: the recorder, the rules and the store of an agent on a virtual clock. */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { formatDuration } from "../core/duration.ts";
import { clockJumped } from "../model/clock-event.ts";
import type { Config } from "../model/config.ts";
import type { CloudEvent, ProposedEvent } from "../model/event.ts";
import { noCounts, parseMatch, type Silence } from "../model/silence.ts";
import { configFolder } from "../testing/config-folder.ts";
import { RecorderRig } from "../testing/recorder-rig.ts";
import { Seeded } from "../testing/seeded.ts";
import { ruleDefinitions } from "./config/definitions.ts";
import type { Compared } from "./rehearsal/ports.ts";
import type { Rehearsed } from "./rehearsal/rehearsal.ts";
import type { Span } from "./rehearsal/span.ts";
import { openRehearsal } from "./rehearse.ts";
import { PastReader } from "./store/past-reader.ts";

const folder = configFolder();
const YEAR_MS = 365 * 86_400_000;

const RULES = (threshold = 3, cooldown = "1m") => `
triggers:
  - { name: a, plugin: file-tail, with: { path: /var/log/a.log } }
  - { name: b, plugin: file-tail, with: { path: /var/log/b.log } }
rules:
  - { name: plain, on: a, type: bad, when: event.data.v > 90, run: p, params: { v: "\${{ event.data.v }}" } }
  - { name: cooled, on: [a, b], type: bad, by: event.subject, cooldown: ${cooldown}, run: p }
  - { name: limited, on: b, throttle: { count: 2, per: 10m }, run: p }
  - name: many
    on: a
    type: bad
    by: event.subject
    window: { over: 2m, is: window.count >= ${threshold} }
    run: p
    params: { count: "\${{ window.count }}" }
  - name: sums
    on: b
    priority: 5
    window: { over: 5m, compute: sum, of: event.data.v, is: window.value > 200 }
    cooldown: 3m
    emit: { type: sum.high, subject: "\${{ event.subject }}", data: { sum: "\${{ window.value }}" } }
  - { name: on sums, on: "rule:sums", run: p, params: { from: "\${{ event.type }}" } }
  - name: pair
    on: [a, b]
    by: event.subject
    sequence: { within: 1m, steps: [{ type: bad }, { type: good, when: event.data.v > 50 }] }
    finding: { severity: error, title: "\${{ event.subject }}", resolve_after: 4m }
  - { name: silent, on: a, absence: { for: 90s }, run: p, params: { since: "\${{ event.data.key }}" } }
  - { name: silent host, on: b, by: event.subject, absence: { for: 3m }, emit: { type: host.silent } }
  - { name: settled, on: b, type: good, by: event.subject, debounce: 20s, run: p }
  - name: down
    on: a
    type: bad
    by: event.subject
    when: event.data.v < 20
    finding: { severity: warning, title: down, resolved_when: event.type == "good" && event.data.v > 40 }
    run: p
  - { name: told, on: "rule:down", type: [finding.opened, finding.resolved], run: p, params: { t: "\${{ event.type }}" } }
  - { name: unmakeable, on: a, type: good, when: event.data.v == 7, run: strict, params: { n: "\${{ event.subject }}" } }
pipelines:
  p: { steps: [{ id: one, action: exec, with: { command: /bin/true } }] }
  strict: { params: { n: { type: int } }, steps: [{ id: one, action: exec, with: { command: /bin/true } }] }
`;

let rig: RecorderRig;
beforeEach(() => void (rig = new RecorderRig()));
afterEach(() => rig.remove());

async function configOf(yaml: string): Promise<Config> {
  const { config, problems } = await folder.load(yaml);
  expect(problems).toEqual([]);
  return config!;
}

async function rehearse(
  config: Config,
  { sinceMs = YEAR_MS * 2 }: { sinceMs?: number } = {},
): Promise<Rehearsed & { told: Compared[]; differences: Compared[]; span: Span }> {
  const rehearsal = await openRehearsal({
    store: join(rig.folder, "agent.db"),
    isCopy: false,
    agentId: "nobody",
    config,
    wanted: (nowMs) => ({ sinceMs: nowMs - sinceMs, untilMs: nowMs }),
    clock: rig.clock,
  });
  const told: Compared[] = [];
  const signal = new AbortController().signal;
  try {
    const tell = (compared: Compared) => void told.push(compared);
    const rehearsed = await rehearsal.run({ tell, settle: async () => {}, signal });
    const differences = told.filter(({ verdict }) => !["same", "failed"].includes(verdict));
    return { ...rehearsed, told, differences, span: rehearsal.span! };
  } finally {
    rehearsal.close();
  }
}

/** Some hours of events on two triggers, with pauses in which time alone does something. */
async function live(
  seed: number,
  options: { restarts: boolean; jumps: boolean; people: boolean },
): Promise<void> {
  const seeds = new Seeded(seed);
  const random = () => seeds.next();
  const pick = (n: number) => Math.floor(random() * n);
  const { clock } = rig;
  const event = (): ProposedEvent => ({
    type: random() < 0.6 ? "bad" : "good",
    subject: `h${pick(3)}`,
    data: { v: pick(100) },
    ...(random() < 0.2 ? { time: new Date(clock.wall() - pick(90_000)).toISOString() } : {}),
  });
  for (let step = 0; step < 200; step++) {
    const batch = Array.from({ length: random() < 0.1 ? 1 + pick(20) : 1 }, event);
    await rig.recorder.record(random() < 0.5 ? "a" : "b", batch, undefined);
    await clock.advance(random() < 0.03 ? 200_000 + pick(1_000_000) : pick(20_000));
    if (options.people && random() < 0.05) await resolveOne();
    if (options.restarts && random() < 0.02) await restart(random() < 0.5);
    if (options.jumps && random() < 0.01) await jump((random() < 0.5 ? -1 : 1) * (400_000 + pick(YEAR_MS)));
  }
  await clock.advance(1_800_000);
}

let config: Config;
const restart = async (isKilled: boolean) => {
  if (isKilled) rig.store.crash();
  await rig.close();
  await rig.open(ruleDefinitions(config));
};

async function jump(byMs: number): Promise<void> {
  rig.clock.jumpWall(byMs);
  if (byMs % 2 === 0)
    await rig.recorder.record("a", [{ type: "bad", subject: "h1", data: { v: 1 } }], undefined);
  await rig.clock.advance(3000);
  await rig.recorder.record("clock", [clockJumped({ byMs, asleepMs: 0 })], undefined);
}

async function resolveOne(): Promise<void> {
  const [found] = await rig.store.findings({ state: "unresolved" }, 1);
  if (!found) return;
  const change = { kind: "resolve", by: "local:0", falsePositive: false, reason: "mended" } as const;
  await rig.recorder.recordChange((times) => rig.rules.changeFinding(found, change, times).evaluated);
}

describe("the same configuration makes no difference", () => {
  const cases = [1, 2, 3].flatMap((seed) => [
    { seed, restarts: false, jumps: false, people: false },
    { seed, restarts: true, jumps: false, people: true },
    { seed, restarts: false, jumps: true, people: true },
    { seed, restarts: true, jumps: true, people: true },
  ]);
  test.each(cases)(
    "%j",
    async (options) => {
      config = await configOf(RULES());
      await rig.open(ruleDefinitions(config));
      await live(options.seed, options);
      const { told, differences, rules } = await rehearse(config);
      expect(differences.map(textOf)).toEqual([]);
      expect(told.length).toBeGreaterThan(100);
      const runs = await rig.runs();
      expect(told.filter(({ verdict, deed }) => verdict === "same" && deed.kind === "run").length).toBe(
        runs.length,
      );
      for (const { rule, proposed, past } of rules) expect({ rule, ...proposed }).toEqual({ rule, ...past });
    },
    60_000,
  );
});

const QUIET = { restarts: false, jumps: false, people: false };
const namesOf = (compared: Compared[], verdict: Compared["verdict"], rule: string) =>
  compared
    .filter((each) => each.verdict === verdict && each.deed.rule === rule)
    .map(({ deed }) => deed.root)
    .toSorted();

/** Every event that came from a trigger, with when it counts. */
async function given(): Promise<
  { root: string; trigger: string; event: CloudEvent; atMs: number; comesMs: number }[]
> {
  const reader = new PastReader(join(rig.folder, "agent.db"));
  const rows = reader.events(0, 1_000_000, 1_000_000);
  const events = rows.map((row) => {
    const event = JSON.parse(reader.body(row)) as CloudEvent;
    const trigger = row.source.split("/")[1]!;
    return { root: `n ${row.n}`, trigger, event, atMs: Date.parse(event.time), comesMs: row.recordedMs };
  });
  reader.close();
  return events.filter(({ trigger }) => !trigger.startsWith("rule:"));
}

/** Events with which so many came within two minutes, looked at one by one. */
async function reference(threshold: number): Promise<string[]> {
  const seen = new Map<string, number[]>();
  const found: string[] = [];
  for (const { root, trigger, event, atMs } of await given()) {
    if (trigger !== "a" || event.type !== "bad") continue;
    const times = seen.get(event.subject!) ?? [];
    if (atMs <= Math.max(-Infinity, ...times) - 120_000) continue;
    times.push(atMs);
    seen.set(event.subject!, times);
    const newest = Math.max(...times);
    if (times.filter((each) => each > newest - 120_000).length >= threshold) found.push(root);
  }
  return found;
}

async function cooledReference(cooldownMs: number): Promise<string[]> {
  const fired = new Map<string, number>();
  const found: string[] = [];
  for (const { root, event, comesMs } of await given()) {
    if (event.type !== "bad" || comesMs - (fired.get(event.subject!) ?? -Infinity) < cooldownMs) continue;
    fired.set(event.subject!, comesMs);
    found.push(root);
  }
  return found;
}

const without = (all: string[], some: string[]) => all.filter((each) => !some.includes(each)).toSorted();

describe("a changed configuration", () => {
  const cases = [
    [1, 2],
    [2, 4],
    [3, 6],
  ] as const;
  test.each(cases)(
    "another threshold gives the differences of a naive reference: seed %d, %d events",
    async (seed, threshold) => {
      config = await configOf(RULES(3));
      await rig.open(ruleDefinitions(config));
      await live(seed, QUIET);
      const { told, differences } = await rehearse(await configOf(RULES(threshold)));
      const [before, after] = [await reference(3), await reference(threshold)];
      expect(before.length).toBeGreaterThan(10);
      expect(namesOf(told, "added", "many")).toEqual(without(after, before));
      expect(namesOf(told, "removed", "many")).toEqual(without(before, after));
      expect(differences.length).toBe(without(after, before).length + without(before, after).length);
      expect(differences.length).toBeGreaterThan(0);
    },
    60_000,
  );

  test("another cooldown as well", async () => {
    config = await configOf(RULES(3, "1m"));
    await rig.open(ruleDefinitions(config));
    await live(4, QUIET);
    const { told, differences } = await rehearse(await configOf(RULES(3, "7m")));
    const [before, after] = [await cooledReference(60_000), await cooledReference(420_000)];
    expect(namesOf(told, "added", "cooled")).toEqual(without(after, before));
    expect(namesOf(told, "removed", "cooled")).toEqual(without(before, after));
    expect(new Set(differences.map(({ deed }) => deed.rule))).toEqual(new Set(["cooled"]));
  }, 60_000);

  test("a rule that is gone, a new one, and other parameters", async () => {
    config = await configOf(RULES());
    await rig.open(ruleDefinitions(config));
    await live(5, QUIET);
    const yaml = RULES()
      .replace("name: limited", "name: renamed")
      .replace('params: { count: "${{ window.count }}" }', "params: { count: many }");
    const { told, rules } = await rehearse(await configOf(yaml));
    const were = rules.find(({ rule }) => rule === "limited")!;
    expect([were.counts, were.past.runs]).toEqual([null, namesOf(told, "removed", "limited").length]);
    expect(namesOf(told, "added", "renamed")).toEqual(namesOf(told, "removed", "limited"));
    expect(namesOf(told, "changed", "many")).toEqual((await reference(3)).toSorted());
    const changed = told.find(({ verdict }) => verdict === "changed")!;
    expect([changed.deed.detail, changed.was?.detail]).toEqual([
      { count: "many" },
      { count: expect.any(Number) },
    ]);
  }, 60_000);

  test("since: windows are warm where it begins, and nothing before it is told", async () => {
    config = await configOf(RULES());
    await rig.open(ruleDefinitions(config));
    await live(6, QUIET);
    const events = await given();
    const sinceMs = rig.clock.wall() - events[events.length >> 1]!.comesMs;
    const { told, events: looked } = await rehearse(config, { sinceMs });
    const exact = told.filter(({ deed }) => ["plain", "many"].includes(deed.rule));
    expect(exact.filter(({ verdict }) => verdict !== "same").map(textOf)).toEqual([]);
    expect(exact.length).toBeGreaterThan(10);
    expect(Math.min(...told.map(({ deed }) => deed.atMs))).toBeGreaterThanOrEqual(rig.clock.wall() - sinceMs);
    expect(looked).toBe(events.filter(({ comesMs }) => comesMs >= rig.clock.wall() - sinceMs).length);
  }, 60_000);

  test("what was silenced then, and a maintenance window that is proposed, keep rules from what they do", async () => {
    config = await configOf(RULES());
    await rig.open(ruleDefinitions(config));
    const bad = async (subject: string) => {
      await rig.recorder.record("a", [{ type: "bad", subject, data: { v: 95 } }], undefined);
      await rig.clock.advance(600_000);
    };
    const silence = (id: string, subject: string, more: Partial<Silence>): Promise<void> => {
      const match = ["rule=plain", `subject=${subject}`].map(parseMatch);
      const said = { id, match, mute: ["runs" as const], comment: id, createdBy: "local:0" };
      const times = { createdMs: rig.clock.wall(), untilMs: rig.clock.trusted() + 1_800_000, ended: null };
      return rig.store.putSilence({ ...said, ...times, counts: noCounts(), ...more }, rig.clock.trusted());
    };
    await bad("early");
    await silence("s1", "*", { ended: { by: "local:0", atMs: rig.clock.wall() + 900_000 } });
    await silence("s2", "late", {});
    for (const subject of ["one", "two", "three", "late", "last"]) await bad(subject);
    const windows = `
maintenance:
  - { name: night, match: { rule: cooled }, from: 2026-12-01T00:25:00Z, until: 2026-12-01T00:45:00Z }
`;
    const { told } = await rehearse(await configOf(RULES() + windows));
    const gone = told.filter(({ verdict }) => verdict === "removed");
    const at = ({ deed }: Compared) => `${deed.rule} ${(deed.atMs - Date.UTC(2026, 11, 1)) / 60_000}`;
    // s1 ended after a quarter of an hour, s2 is about another subject that came too late.
    expect(gone.map(at).toSorted()).toEqual(["cooled 30", "cooled 40", "plain 10", "plain 20"]);
    expect(told.filter(({ verdict }) => verdict === "added")).toEqual([]);
  });

  test("a run that could not be made is told with its reason", async () => {
    config = await configOf(RULES());
    await rig.open(ruleDefinitions(config));
    await rig.recorder.record("a", [{ type: "good", subject: "x", data: { v: 7 } }], undefined);
    await rig.clock.advance(1000);
    const { told, rules } = await rehearse(config);
    const failed = told.filter(({ verdict }) => verdict === "failed");
    expect(failed.map(({ reason }) => reason)).toEqual([expect.stringContaining("parameter 'n'")]);
    expect(rules.find(({ rule }) => rule === "unmakeable")!.counts).toMatchObject({ fired: 1, errors: 1 });
  });

  test("an event that is left of a history that was trimmed is not looked at", async () => {
    config = await configOf(RULES());
    await rig.open(ruleDefinitions(config));
    const began = rig.clock.wall();
    for (let step = 0; step < 10; step++) {
      await rig.recorder.record("a", [{ type: "bad", subject: "s", data: { v: 30 } }], undefined);
      await rig.clock.advance(1000);
    }
    await rig.close();
    const database = new Database(join(rig.folder, "agent.db"));
    // Of the third one a run is still open.
    database.run("DELETE FROM events WHERE n < 6 AND n <> 3");
    database.close();
    await rig.open(ruleDefinitions(config));
    const { told, events, span } = await rehearse(config);
    expect([events, span.from, span.fromMs - began, span.cut]).toEqual([5, 6, 5000, true]);
    expect(told.filter(({ deed }) => deed.root === "n 3")).toEqual([]);
  });

  test("runs that are no longer kept are not taken for new ones", async () => {
    config = await configOf(RULES());
    await rig.open(ruleDefinitions(config));
    for (let step = 0; step < 10; step++) {
      await rig.recorder.record("a", [{ type: "bad", subject: `s${step}`, data: { v: 95 } }], undefined);
      await rig.clock.advance(1000);
    }
    const total = (await rig.runs()).length;
    await rig.close();
    const database = new Database(join(rig.folder, "agent.db"));
    database.run("DELETE FROM runs WHERE n <= 8");
    database.run("UPDATE runs SET open = 0");
    database.close();
    await rig.open(ruleDefinitions(config));
    const { told, differences, runsKeptFrom } = await rehearse(config);
    expect(differences.map(({ verdict }) => verdict)).toEqual(Array(8).fill("unknown"));
    expect(told.filter(({ verdict, deed }) => verdict === "same" && deed.kind === "run")).toHaveLength(
      total - 8,
    );
    expect(runsKeptFrom).toBeGreaterThan(1);
  });
});

function textOf({ verdict, deed, was, reason }: Compared): string {
  const { kind, rule, what, root, atMs, detail } = deed;
  const at = formatDuration(atMs - Date.UTC(2026, 11, 1));
  return `${verdict} ${at} ${kind} ${rule} ${what} ${root} ${JSON.stringify(detail)} ${JSON.stringify(was?.detail)} ${reason}`;
}
