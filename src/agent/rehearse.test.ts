/** `rules test` against what really happened: the recorder, the rules and the store of an agent on a virtual clock. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { formatDuration } from "../core/duration.ts";
import { clockJumped } from "../model/clock-event.ts";
import type { Config } from "../model/config.ts";
import type { ProposedEvent } from "../model/event.ts";
import { configFolder } from "../testing/config-folder.ts";
import { RecorderRig } from "../testing/recorder-rig.ts";
import { Seeded } from "../testing/seeded.ts";
import { ruleDefinitions } from "./config/definitions.ts";
import type { Compared } from "./rehearsal/ports.ts";
import type { Rehearsed } from "./rehearsal/rehearsal.ts";
import { openRehearsal } from "./rehearse.ts";

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
): Promise<Rehearsed & { told: Compared[]; differences: Compared[] }> {
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
    return { ...rehearsed, told, differences };
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
    if (options.restarts && random() < 0.02) await restart();
    if (options.jumps && random() < 0.01) await jump((random() < 0.5 ? -1 : 1) * (400_000 + pick(YEAR_MS)));
  }
  await clock.advance(1_800_000);
}

let config: Config;
const restart = async () => {
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

function textOf({ verdict, deed, was, reason }: Compared): string {
  const { kind, rule, what, root, atMs, detail } = deed;
  const at = formatDuration(atMs - Date.UTC(2026, 11, 1));
  return `${verdict} ${at} ${kind} ${rule} ${what} ${root} ${JSON.stringify(detail)} ${JSON.stringify(was?.detail)} ${reason}`;
}
