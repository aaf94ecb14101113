import { messageOf } from "../../core/errors.ts";
import type { Fault } from "../../storage/faults.ts";
import { preferenceOf } from "./aims.ts";
import { CallChecks } from "./call-checks.ts";
import { faultOf } from "./faults-drawn.ts";
import type { Setting } from "./grammar.ts";
import { Incarnation } from "./incarnation.ts";
import { Observer } from "./observer.ts";
import { SimulatedAgent } from "./simulated-agent.ts";
import type { SharedRooms } from "./shared-rooms.ts";
import { SimulatedWorkers } from "./workers.ts";
import type { World } from "./world.ts";

/** The agent's lives in a world, one after the other: each begins with what is durable, and nothing else. */
export class Lives {
  readonly #world: World;
  #count = 0;
  #restarting = false;

  constructor(world: World) {
    this.#world = world;
  }

  start(): void {
    const world = this.#world;
    const life = new Incarnation(world.clock, ++this.#count);
    // As the agent does: what it remembers of the trusted time, or the wall clock when that is ahead of it.
    world.clock.trust(world.clock.wall());
    world.life = life;
    world.schedules.begun();
    world.say(`the agent starts (${life.number})`);
    this.#begin(life).catch((error: unknown) => {
      if (life.dead) return;
      world.say(`the agent cannot start: ${messageOf(error)}`);
      this.die();
    });
  }

  /** Everything that can happen without time passing has happened. A dead agent is started again after a while. */
  async settle(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    const { observer, life } = this.#world;
    observer?.look();
    if (life.dead && !this.#restarting) this.#restartLater();
  }

  crash(): void {
    const { life, say } = this.#world;
    if (life.dead) return;
    say("the agent is killed");
    this.die();
  }

  stop(): void {
    const { agent, life, random, say } = this.#world;
    if (!agent || agent.stopping) return;
    say("the agent is stopped");
    agent.stop(random.pick([0, 1_000, 60_000])).then(
      () => {
        if (life.dead) return;
        say("the agent has stopped");
        this.#ended(life);
      },
      (error: unknown) => {
        if (!life.dead) this.#world.fail("errors are told", `the agent cannot stop: ${messageOf(error)}`);
      },
    );
  }

  die(): void {
    const { agent, life } = this.#world;
    this.#ended(life);
    agent?.store.crash();
  }

  #restartLater(): void {
    const { clock, calm, random } = this.#world;
    this.#restarting = true;
    clock.after(calm ? 0 : random.pick([0, 1_000, 40_000]), () => {
      this.#restarting = false;
      this.start();
    });
  }

  async #begin(life: Incarnation): Promise<void> {
    const world = this.#world;
    const { setting, random, workRandom } = world;
    const agent = await SimulatedAgent.start({
      path: world.database,
      life,
      setting: { ...setting, pipelines: this.#versions(life.number) },
      allRules: random.chance(0.6),
      ids: world.ids,
      random: workRandom,
      faults: world.calm ? [] : this.#aimedFaults(),
      actions: this.#workers(life),
      line: world.line,
      sources: world.sources,
      ledger: world.events,
      say: world.say,
      broken: (what) => world.fail("nothing impossible", what),
      opened: async (shared) => {
        world.brake.opened(shared);
        this.#silencesOpened(shared);
        await world.shared.opened(shared);
      },
      look: () => world.observer?.look(),
      destinations: {
        outputs: world.outputs,
        random: world.outputRandom,
        calm: () => world.calm,
        look: () => world.observer?.look(),
        say: world.say,
      },
      onFault: (fault) => world.struck(fault),
      onCrash: () => this.#ended(life),
      sent: (source, id, atMs) => void world.sentAt.set(`${source} ${id}`, atMs),
    });
    if (life.dead) return agent.store.crash();
    world.observer ??= this.#observer();
    const { salvage } = agent.store.facts;
    if (salvage !== null) world.fail("no damage", `the store was set aside: ${salvage.reason}`);
    world.agent = agent;
    world.firstAgent ??= agent;
    await agent.begin();
  }

  #silencesOpened({ silences }: SharedRooms): void {
    const found = new Map(silences.list().map(({ id, state }) => [id, state]));
    const { silenced, clock } = this.#world;
    for (const [id, { state, untilMs }] of silenced) {
      if (state !== "unknown" && clock.trusted() < untilMs && found.get(id) !== state)
        this.#world.fail(
          "answered is kept",
          `silence ${id} is ${found.get(id)}, and was told to be ${state}`,
        );
    }
  }

  #observer(): Observer {
    const { database, setting, events, story } = this.#world;
    return new Observer({
      path: database,
      pipelines: setting.pipelines,
      events,
      story,
      trims: this.#trims(),
      leased: (run, step, runs) => this.#world.brake.leased(run, step, runs),
    });
  }

  #trims(): boolean {
    return this.#world.setting.retention.runs !== undefined;
  }

  #workers(life: Incarnation): SimulatedWorkers {
    const { workRandom, ledger, setting, wanted, say } = this.#world;
    return new SimulatedWorkers(
      {
        random: workRandom,
        ledger,
        pipelines: [...setting.pipelines.keys()],
        prefer: preferenceOf(wanted),
        calm: () => this.#world.calm,
        called: (call) => this.#checks().called(call),
        say,
      },
      life,
    );
  }

  #checks(): CallChecks {
    const { observer, ledger, story, setting, life } = this.#world;
    return new CallChecks({
      observer: observer!,
      ledger,
      story,
      ...setting,
      clock: life,
    });
  }

  /** Now and then the pipelines are other versions after a restart, which do the same. */
  #versions(life: number): Setting["pipelines"] {
    const { setting, newVersions } = this.#world;
    if (!newVersions) return setting.pipelines;
    return new Map(
      [...setting.pipelines].map(([name, each]) => [name, { ...each, description: `version ${life}` }]),
    );
  }

  #aimedFaults(): Fault[] {
    const { aims, random } = this.#world;
    return aims.map(({ label, kind }) => faultOf(label, kind, random, random.pick([0, 0, 1, 4])));
  }

  /** This life is over: what it had set off is gone. */
  #ended(life: Incarnation): void {
    if (life.dead) return;
    life.dead = true;
    const world = this.#world;
    world.agent = null;
    world.ledger.lost();
    world.lastEmit = Promise.resolve();
    world.line.cut?.();
    world.line.cut = null;
  }
}
