import { join } from "node:path";
import type { Ids } from "../../core/ids.ts";
import { eventSource } from "../../model/event.ts";
import { hasEnded } from "../../model/run.ts";
import type { Fault } from "../../storage/faults.ts";
import { Seeded } from "../seeded.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { type Aim, aimsOf, givesUp, retryMore } from "./aims.ts";
import { BrakeLedger } from "./brake-ledger.ts";
import { EventLedger } from "./event-ledger.ts";
import { type FaultTable, kindOf, makeFolder } from "./faults-drawn.ts";
import { randomSetting, type Setting } from "./grammar.ts";
import type { HubLine } from "./hub-session.ts";
import { Incarnation } from "./incarnation.ts";
import { ModelHub } from "./model-hub.ts";
import { AGENT_ID, TRIGGERS } from "./names.ts";
import type { ObservedRun, Observer } from "./observer.ts";
import { randomOutputs, type SimulatedOutput } from "./output-grammar.ts";
import { OutputLedger } from "./output-ledger.ts";
import { RuleReference } from "./rule-reference.ts";
import type { SimulatedAgent } from "./simulated-agent.ts";
import { LineSource } from "./simulated-trigger.ts";
import { ScheduleLedger } from "./schedule-ledger.ts";
import { SharedLedger } from "./shared-ledger.ts";
import { Story } from "./story.ts";
import { WorkLedger } from "./work-ledger.ts";

/** One agent in a world of trouble, all of it drawn from one seed: what there is, and what is known of it outside. */
export class World {
  readonly clock = new VirtualClock();
  readonly random: Seeded;
  /** For what workers, triggers and lines do. */
  readonly workRandom: Seeded;
  readonly setting: Setting;
  /** The pipelines are other versions after each restart. */
  readonly newVersions: boolean;
  readonly story = new Story(() => this.clock.mono());
  readonly ledger = new WorkLedger();
  readonly events: EventLedger;
  readonly schedules: ScheduleLedger;
  readonly outputs: { output: SimulatedOutput; ledger: OutputLedger }[];
  /** For what destinations do. */
  readonly outputRandom: Seeded;
  readonly reference: RuleReference;
  readonly sources: LineSource[];
  readonly line: HubLine;
  readonly ids: Ids;
  readonly folder = makeFolder();
  readonly database = join(this.folder, "agent.db");
  /** Last values that were answered, of small things that are overwritten. */
  readonly kept = { setting: -1, output: 0 };
  /** Writes that faults are aimed at. */
  readonly wanted: readonly string[];
  /** Faults that have not struck yet. */
  readonly aims: Aim[];
  /** Trusted time at which an event was last sent to the store, by source and id. */
  readonly sentAt = new Map<string, number>();
  readonly shared = new SharedLedger((invariant, what) => this.fail(invariant, what));
  readonly brake = new BrakeLedger({
    trusted: () => this.clock.trusted(),
    fail: (invariant, what) => this.fail(invariant, what),
  });
  /** Silences, as their makers were told of them. */
  readonly silenced = new Map<string, { state: "active" | "ended" | "unknown"; untilMs: number }>();
  agent: SimulatedAgent | null = null;
  /** The agent of the first life that got so far. */
  firstAgent: SimulatedAgent | null = null;
  life: Incarnation;
  lastEmit: Promise<void> = Promise.resolve();
  observer: Observer | null = null;
  /** No faults any more, and everybody behaves. */
  calm = false;
  readonly #table: FaultTable;
  #count = 0;

  constructor(
    readonly seed: number,
    table: FaultTable,
    aims?: Aim[],
  ) {
    const drawn = (salt: number) => new Seeded(Math.imul(seed, 2_654_435_761) ^ salt);
    this.random = drawn(1);
    this.workRandom = drawn(2);
    this.#table = table;
    this.aims = aims ? [...aims] : aimsOf(seed, table.labels);
    this.wanted = this.aims.map(({ label }) => label);
    const trims = this.wanted.some((label) => /trim$|forget-segment/.test(label)) || this.random.chance(0.3);
    this.newVersions = this.wanted.includes("definitions.trim") || this.random.chance(0.2);
    const gives = this.wanted.some((label) => givesUp(label)) || drawn(7).chance(0.15);
    this.setting = randomSetting(drawn(3), trims, gives);
    if (this.wanted.includes("steps.remove")) retryMore(this.setting);
    this.sources = TRIGGERS.map((name, at) => new LineSource(name, drawn(10 + at)));
    const hub = new ModelHub((invariant, what) => this.fail(invariant, what));
    this.line = { hub, up: this.random.chance(0.8), reliable: false, cut: null };
    this.reference = new RuleReference(this.setting.rules);
    this.schedules = new ScheduleLedger(this.setting.schedules, this.story);
    this.outputRandom = drawn(6);
    this.outputs = randomOutputs(drawn(5)).map((output) => {
      const fail = (invariant: string, what: string) => this.fail(invariant, what);
      return { output, ledger: new OutputLedger(output, fail) };
    });
    this.events = new EventLedger({
      outputs: this.outputs.map(({ ledger }) => ledger),
      story: this.story,
      reference: this.reference,
      schedules: this.schedules,
      sentAt: (source, id) => this.sentAt.get(`${source} ${id}`) ?? 0,
    });
    const idRandom = drawn(4);
    this.ids = {
      next: () => `id-${String(++this.#count).padStart(6, "0")}`,
      random: () => idRandom.next(),
      hex: (bytes) => (++this.#count).toString(16).padStart(bytes * 2, "0"),
    };
    this.life = new Incarnation(this.clock, 0);
    this.life.dead = true;
    this.#describe();
  }

  get labels(): string[] {
    return this.#table.labels;
  }

  readonly say = (line: string): void => this.story.say(this.#anywhere(line));

  note(line: string): void {
    this.story.note(this.#anywhere(line));
  }

  fail(invariant: string, what: string): void {
    this.story.fail(invariant, this.#anywhere(what));
  }

  counted(): number {
    return ++this.#count;
  }

  openRuns(): ObservedRun[] {
    return this.observer?.openRuns() ?? [];
  }

  observedRuns(): ObservedRun[] {
    return this.observer ? [...this.observer.runs.values()] : [];
  }

  letters(): string[] {
    return this.observer ? [...this.observer.letters()] : [];
  }

  readonly order = (fault: Fault): void => {
    if (!this.agent) return;
    this.say(`fault ordered at ${fault.label}: ${kindOf(fault)} (${fault.with})`);
    this.agent.store.order(fault);
  };

  /** The next thing happens, if that is soon; else a while passes. */
  tick(): void {
    const next = this.clock.nextIn();
    if (next === null || next > 60_000) this.passes(20_000);
    else this.clock.runNext();
  }

  passes(ms: number): void {
    // Timers of this time fire one after the other, as acts go on.
    this.clock.after(ms, () => {});
    this.clock.runNext();
  }

  emitted(id: string): void {
    if (!this.events.has(eventSource(AGENT_ID, "manual"), id))
      this.fail("no event lost", `${id} was answered and is not there`);
  }

  started(id: string): void {
    if (!this.observer!.runs.has(id)) this.fail("no run lost", `run ${id} was answered and is not there`);
  }

  cancelled(id: string): void {
    const run = this.observer!.runs.get(id);
    if (!run?.row.stop && !run?.gone && !hasEnded(run?.row.state ?? "queued"))
      this.fail("a stop stops", `the cancel of ${id} was answered and is not there`);
  }

  /** The folder is another one each time, and the story must not be. */
  #anywhere(text: string): string {
    return text.replaceAll(this.folder, "");
  }

  #describe(): void {
    const aims = this.aims.map(({ label, kind }) => `${label} (${kind})`).join(", ");
    this.say(
      `seed ${this.seed}: ${this.setting.pipelines.size} pipelines, ${this.setting.rules.length} rules`,
    );
    this.say(`faults aimed at ${aims}`);
  }

  struck(fault: Fault): void {
    this.say(`fault at ${fault.label}: ${kindOf(fault)} (${fault.with})`);
    this.#table.struck(fault);
    const at = this.aims.findIndex(({ label, kind }) => label === fault.label && kind === kindOf(fault));
    if (at >= 0) this.aims.splice(at, 1);
  }
}
