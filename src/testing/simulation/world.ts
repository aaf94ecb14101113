import { rmSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import { eventSource } from "../../model/event.ts";
import { hasEnded } from "../../model/run.ts";
import type { Fault } from "../../storage/faults.ts";
import { Seeded } from "../seeded.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { ACTS, decide } from "./acts.ts";
import { CallChecks } from "./call-checks.ts";
import { EventLedger } from "./event-ledger.ts";
import { faultOf, type FaultKind, type FaultTable, kindOf, KINDS, makeFolder } from "./faults-drawn.ts";
import { FinalChecks } from "./final-checks.ts";
import { randomSetting, type Setting } from "./grammar.ts";
import type { HubLine } from "./hub-session.ts";
import { Incarnation } from "./incarnation.ts";
import { ModelHub } from "./model-hub.ts";
import { AGENT_ID, TRIGGERS } from "./names.ts";
import { type ObservedRun, Observer } from "./observer.ts";
import { RuleReference } from "./rule-reference.ts";
import { SimulatedAgent } from "./simulated-agent.ts";
import { LineSource } from "./simulated-trigger.ts";
import { Story } from "./story.ts";
import { WorkLedger } from "./work-ledger.ts";
import { type Manner, SimulatedWorkers } from "./workers.ts";

interface Aim {
  label: string;
  kind: FaultKind;
}

/** Faults that one seed aims at on purpose, so that no write is spared over many seeds. */
const AIMS = 6;
const MOST_ACTS = 300;
const ACTS_IN_ALL = [100, 180, MOST_ACTS];
/** Timers that fire after the last fault before it counts as going on for ever. */
const MAX_QUIET_STEPS = 20_000;

/** One agent in a world of trouble, all of it drawn from one seed. */
export class World {
  readonly clock = new VirtualClock();
  readonly random: Seeded;
  readonly setting: Setting;
  readonly story = new Story(() => this.clock.mono());
  readonly ledger = new WorkLedger();
  readonly events: EventLedger;
  readonly reference: RuleReference;
  readonly sources: LineSource[];
  readonly line: HubLine;
  readonly folder = makeFolder();
  /** Last values that were answered, of small things that are overwritten. */
  readonly kept = { setting: -1, output: 0 };
  agent: SimulatedAgent | null = null;
  /** The agent of the first life that got so far. */
  firstAgent: SimulatedAgent | null = null;
  life: Incarnation;
  lastEmit: Promise<void> = Promise.resolve();
  observer: Observer | null = null;
  readonly #table: FaultTable;
  /** Faults that have not struck yet. */
  readonly #aims: Aim[];
  /** Writes that were aimed at. */
  readonly #wanted: string[];
  readonly #workRandom: Seeded;
  readonly #sentAt = new Map<string, number>();
  readonly #ids: Ids;
  readonly #weights: [name: string, weight: number][];
  readonly #newVersions: boolean;
  #count = 0;
  #lives = 0;
  #calm = false;
  #restarting = false;

  constructor(
    readonly seed: number,
    table: FaultTable,
  ) {
    const drawn = (salt: number) => new Seeded(Math.imul(seed, 2_654_435_761) ^ salt);
    this.random = drawn(1);
    this.#workRandom = drawn(2);
    this.#table = table;
    this.#aims = aimsOf(seed, table.labels);
    this.#wanted = this.#aims.map(({ label }) => label);
    const trims = this.#wanted.some((label) => label.endsWith("trim")) || this.random.chance(0.3);
    this.#newVersions = this.#wanted.includes("definitions.trim") || this.random.chance(0.2);
    this.setting = randomSetting(drawn(3), trims);
    if (this.#wanted.includes("steps.remove")) retryMore(this.setting);
    this.sources = TRIGGERS.map((name, at) => new LineSource(name, drawn(10 + at)));
    const hub = new ModelHub((invariant, what) => this.fail(invariant, what));
    this.line = { hub, up: this.random.chance(0.8), reliable: false, cut: null };
    this.reference = new RuleReference(this.setting.rules);
    this.events = new EventLedger({
      story: this.story,
      reference: this.reference,
      sentAt: (source, id) => this.#sentAt.get(`${source} ${id}`) ?? 0,
    });
    const idRandom = drawn(4);
    this.#ids = {
      next: () => `id-${String(++this.#count).padStart(6, "0")}`,
      random: () => idRandom.next(),
      hex: (bytes) => (++this.#count).toString(16).padStart(bytes * 2, "0"),
    };
    this.life = new Incarnation(this.clock, 0);
    this.life.dead = true;
    this.#weights = weightsOf(this.#wanted);
  }

  get labels(): string[] {
    return this.#table.labels;
  }

  /** From the first start to the last check. Leaves nothing behind. */
  async run(): Promise<void> {
    try {
      this.#describe();
      this.#start();
      await this.#settle();
      const acts = this.#wanted.some(isRare) ? MOST_ACTS : this.random.pick(ACTS_IN_ALL);
      for (let act = 0; act < acts && !this.story.violation; act++) {
        this.#act();
        await this.#settle();
      }
      if (!this.story.violation) await this.#becomeQuiet();
      if (!this.story.violation) await new FinalChecks(this).all();
    } finally {
      if (!this.life.dead) this.#die();
      await this.#settle();
      this.observer?.close();
      rmSync(this.folder, { recursive: true, force: true });
    }
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
    const row = this.observer!.runs.get(id)?.row;
    if (!row?.stop && !hasEnded(row?.state ?? "queued"))
      this.fail("a stop stops", `the cancel of ${id} was answered and is not there`);
  }

  crash(): void {
    if (this.life.dead) return;
    this.say("the agent is killed");
    this.#die();
  }

  stop(): void {
    const { agent, life } = this;
    if (!agent || agent.stopping) return;
    this.say("the agent is stopped");
    agent.stop(this.random.pick([0, 1_000, 60_000])).then(
      () => {
        if (life.dead) return;
        this.say("the agent has stopped");
        this.#ended(life);
      },
      (error: unknown) => {
        if (!life.dead) this.fail("errors are told", `the agent cannot stop: ${messageOf(error)}`);
      },
    );
  }

  /** The folder is another one each time, and the story must not be. */
  #anywhere(text: string): string {
    return text.replaceAll(this.folder, "");
  }

  #describe(): void {
    const aims = this.#aims.map(({ label, kind }) => `${label} (${kind})`).join(", ");
    this.say(
      `seed ${this.seed}: ${this.setting.pipelines.size} pipelines, ${this.setting.rules.length} rules`,
    );
    this.say(`faults aimed at ${aims}`);
  }

  #act(): void {
    let drawn = this.random.next() * this.#weights.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of this.#weights) {
      drawn -= weight;
      if (drawn >= 0) continue;
      this.note(`act ${name}`);
      return ACTS[name]!.run(this);
    }
  }

  /** Everything that can happen without time passing has happened. */
  async #settle(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.observer?.look();
    if (this.life.dead && !this.#restarting) this.#restartLater();
  }

  #restartLater(): void {
    this.#restarting = true;
    this.clock.after(this.#calm ? 0 : this.random.pick([0, 1_000, 40_000]), () => {
      this.#restarting = false;
      this.#start();
    });
  }

  #start(): void {
    const life = new Incarnation(this.clock, ++this.#lives);
    this.life = life;
    this.say(`the agent starts (${life.number})`);
    this.#begin(life).catch((error: unknown) => {
      if (life.dead) return;
      this.say(`the agent cannot start: ${messageOf(error)}`);
      this.#die();
    });
  }

  async #begin(life: Incarnation): Promise<void> {
    const { setting, ledger } = this;
    const actions = new SimulatedWorkers(
      {
        random: this.#workRandom,
        ledger,
        pipelines: [...setting.pipelines.keys()],
        prefer: preferenceOf(this.#wanted),
        calm: () => this.#calm,
        called: (call) => this.#checks().called(call),
        say: this.say,
      },
      life,
    );
    const agent = await SimulatedAgent.start({
      path: join(this.folder, "agent.db"),
      life,
      setting: { ...setting, pipelines: this.#versions(life.number) },
      allRules: this.random.chance(0.6),
      ids: this.#ids,
      random: this.#workRandom,
      faults: this.#calm ? [] : this.#aimedFaults(),
      actions,
      line: this.line,
      sources: this.sources,
      ledger: this.events,
      say: this.say,
      broken: (what) => this.fail("nothing impossible", what),
      look: () => this.observer?.look(),
      onFault: (fault) => this.#struck(fault),
      onCrash: () => this.#ended(life),
      sent: (source, id, atMs) => void this.#sentAt.set(`${source} ${id}`, atMs),
    });
    if (life.dead) return;
    this.observer ??= new Observer({
      path: join(this.folder, "agent.db"),
      pipelines: setting.pipelines,
      events: this.events,
      story: this.story,
      trims: setting.retention.endedRuns !== undefined,
    });
    if (agent.store.facts.salvage !== null)
      this.fail("no damage", `the store was set aside: ${agent.store.facts.salvage.reason}`);
    this.agent = agent;
    this.firstAgent ??= agent;
    await agent.begin();
  }

  /** Now and then the pipelines are other versions after a restart, which do the same. */
  #versions(life: number): Setting["pipelines"] {
    const { pipelines } = this.setting;
    if (!this.#newVersions) return pipelines;
    return new Map([...pipelines].map(([name, each]) => [name, { ...each, description: `version ${life}` }]));
  }

  #checks(): CallChecks {
    return new CallChecks({
      observer: this.observer!,
      ledger: this.ledger,
      story: this.story,
      pipelines: this.setting.pipelines,
      maxSteps: this.setting.maxSteps,
    });
  }

  #aimedFaults(): Fault[] {
    return this.#aims.map(({ label, kind }) =>
      faultOf(label, kind, this.random, this.random.pick([0, 0, 1, 4])),
    );
  }

  #struck(fault: Fault): void {
    this.say(`fault at ${fault.label}: ${kindOf(fault)} (${fault.with})`);
    this.#table.struck(fault);
    const at = this.#aims.findIndex(({ label, kind }) => label === fault.label && kind === kindOf(fault));
    if (at >= 0) this.#aims.splice(at, 1);
  }

  /** This life is over: what it had set off is gone. */
  #ended(life: Incarnation): void {
    if (life.dead) return;
    life.dead = true;
    this.agent = null;
    this.ledger.lost();
    this.lastEmit = Promise.resolve();
    this.line.cut?.();
    this.line.cut = null;
  }

  #die(): void {
    const { agent, life } = this;
    this.#ended(life);
    agent?.store.crash();
  }

  /** No faults any more, everybody answers, the hub is there: everything must come to its end. */
  async #becomeQuiet(): Promise<void> {
    this.say("no more faults");
    this.#calm = true;
    this.line.up = true;
    this.line.reliable = true;
    this.line.cut?.();
    if (!this.life.dead) this.#die();
    for (let step = 0; step < MAX_QUIET_STEPS && !this.story.violation; step++) {
      await this.#settle();
      for (const trigger of this.agent?.triggers ?? []) trigger.emit(10);
      decide(this, true);
      if (await this.#isQuiet()) return;
      if (this.clock.nextIn() !== null) this.clock.runNext();
    }
    const open = this.openRuns().map(({ row, steps }) => {
      const states = [...steps.values()].map((step) => `${step.step} ${step.state}:${step.waits ?? ""}`);
      return `${row.id} ${row.state} (${states.join(", ")})`;
    });
    this.fail(
      "every run ends",
      `after ${MAX_QUIET_STEPS} steps without a fault there is still: ${open.join("; ")}`,
    );
  }

  async #isQuiet(): Promise<boolean> {
    const { agent } = this;
    if (!agent || agent.triggers.length < TRIGGERS.length || this.openRuns().length > 0) return false;
    if (agent.triggers.some(({ behind }) => behind > 0)) return false;
    const streams = await agent.store.streams();
    return streams.every(({ last, acknowledged }) => last === acknowledged);
  }
}

function aimsOf(seed: number, labels: string[]): Aim[] {
  const all = labels.flatMap((label) => KINDS.map((kind) => ({ label, kind })));
  return Array.from({ length: AIMS }, (_, at) => all[(seed * AIMS + at * 37) % all.length]!);
}

function weightsOf(labels: string[]): [string, number][] {
  return Object.entries(ACTS).map(([name, { weight, leadsTo }]) => {
    const wanted = labels.some((label) => leadsTo.includes(label));
    return [name, wanted ? weight + 8 : weight];
  });
}

/** Writes that take a while to come about. */
function isRare(label: string): boolean {
  return /trim|dead|remove|expire|renumber/i.test(label);
}

/** What an attempt has added is removed by the next one. */
function retryMore({ pipelines }: Setting): void {
  for (const step of [...pipelines.values()].flatMap(({ steps }) => steps)) {
    step.effect = "idempotent";
    step.retry.attempts = 3;
  }
}

/** What workers must do so that these writes happen. */
function preferenceOf(labels: string[]): Manner | null {
  if (labels.includes("steps.remove")) return "adds";
  return labels.some((label) => /dead/i.test(label)) ? "gives-up" : null;
}
