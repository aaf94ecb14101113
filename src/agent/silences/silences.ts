import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import { WINDOW_PREFIX } from "../../model/maintenance.ts";
import {
  type FiringFacts,
  type Match,
  matchesAll,
  type Mute,
  type MuteCounts,
  noCounts,
  type Silence,
} from "../../model/silence.ts";
import type { MaintenanceWindows } from "./windows.ts";

export interface SilencePorts {
  store: { silences(): Promise<Silence[]>; putSilence(silence: Silence, nowMs: number): Promise<void> };
  windows: MaintenanceWindows;
  labels: Record<string, string>;
  clock: Clock;
  ids: Pick<Ids, "hex">;
  log: Logger;
}

/** What silences keep a rule from, and by which; `count` when it was kept from it. */
export interface Quiet {
  readonly by: Partial<Record<Mute, string>>;
  count(what: Mute): void;
}

/** A silence or a maintenance window as it is shown. Times: trusted. */
export interface ShownSilence extends Omit<Silence, "untilMs"> {
  /** Of a window: null while it is closed. */
  untilMs: number | null;
  state: "active" | "ended" | "closed";
  /** Of a window: when it opens next. Wall time. */
  nextMs: number | null;
}

export const MAX_ACTIVE = 1000;
/** Those that are over are held in memory up to so many, as the store does. */
const MAX_OVER = 1000;
/** What is counted is stored so much later: a crash loses that much of the counts, and nothing else. */
const FLUSH_MS = 10_000;

/** What people have silenced, and maintenance windows that are open: rules ask it as they fire. */
export class Silences {
  readonly totals: MuteCounts = noCounts();
  readonly #ports: SilencePorts;
  readonly #all = new Map<string, Silence>();
  #active: Silence[] = [];
  readonly #windowCounts = new Map<string, MuteCounts>();
  readonly #dirty = new Set<Silence>();
  #cancelFlush: (() => void) | null = null;
  #stopped = false;

  constructor(ports: SilencePorts) {
    this.#ports = ports;
  }

  async load(): Promise<void> {
    for (const silence of await this.#ports.store.silences()) this.#all.set(silence.id, silence);
    this.#active = [...this.#all.values()].filter((silence) => this.#isActive(silence));
  }

  /** What was counted is stored. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelFlush?.();
    await this.#flush();
  }

  /** Null when nothing silences a rule that fires so. `facts` are worked out only when something might. */
  of(facts: () => FiringFacts): Quiet | null {
    const { windows, labels } = this.#ports;
    const open = windows.open();
    if (open.length === 0 && this.#active.length === 0) return null;
    const known = facts();
    const silences = this.#active.filter(
      (silence) => this.#isActive(silence) && matchesAll(silence.match, known, labels),
    );
    const matching = open
      .map(({ definition }) => definition)
      .filter(({ match }) => match.length > 0 && matchesAll(match, known, labels));
    if (silences.length + matching.length === 0) return null;
    const by: Partial<Record<Mute, string>> = {};
    for (const { name, mute } of matching) for (const what of mute) by[what] ??= `${WINDOW_PREFIX}${name}`;
    for (const { id, mute } of silences) for (const what of mute) by[what] ??= id;
    return { by, count: (what) => this.#count(what, silences, matching) };
  }

  /** Resolves when it is durable. */
  async add(asked: {
    match: Match[];
    mute: Mute[];
    forMs: number;
    comment: string;
    by: string;
  }): Promise<Silence> {
    const { store, clock, ids } = this.#ports;
    this.#active = this.#active.filter((silence) => this.#isActive(silence));
    if (this.#active.length >= MAX_ACTIVE) {
      const message = `${MAX_ACTIVE} silences hold already, as many as there may be: end some (holdfast silence list)`;
      throw new HoldfastError("exhausted", message);
    }
    const { match, mute, comment, by } = asked;
    const times = { createdMs: clock.wall(), untilMs: clock.trusted() + asked.forMs };
    const silence: Silence = {
      ...{ id: ids.hex(4), match, mute, comment, createdBy: by, ...times },
      ...{ ended: null, counts: noCounts() },
    };
    await store.putSilence(silence, clock.trusted());
    this.#all.set(silence.id, silence);
    this.#active.push(silence);
    this.#forget();
    return silence;
  }

  /** Resolves when it is durable. Throws `not_found`, and `conflict` when it is over. */
  async end(id: string, by: string): Promise<Silence> {
    if (id.startsWith(WINDOW_PREFIX)) {
      const message = `${id} is of the configuration: change it there, and start the agent again`;
      throw new HoldfastError("conflict", message);
    }
    const silence = this.#find(id);
    if (!this.#isActive(silence))
      throw new HoldfastError("conflict", `silence ${silence.id} is over already`);
    const { store, clock } = this.#ports;
    const ended = { by, atMs: clock.wall() };
    await store.putSilence({ ...silence, ended }, clock.trusted());
    silence.ended = ended;
    this.#active = this.#active.filter((each) => each !== silence);
    return silence;
  }

  /** Windows first, then silences, the newest first. */
  list(): ShownSilence[] {
    return [
      ...this.#shownWindows(),
      ...[...this.#all.values()].toReversed().map((each) => this.#shown(each)),
    ];
  }

  /** By id, or by an unambiguous end or beginning of one. */
  show(id: string): ShownSilence {
    const window = this.#shownWindows().find((each) => each.id === id);
    return window ?? this.#shown(this.#find(id));
  }

  get active(): number {
    return this.#active.filter((silence) => this.#isActive(silence)).length;
  }

  /** What those that hold have held back, for metrics: at most as many as may hold, and the windows. */
  heldBack(): { silence: string; counts: MuteCounts }[] {
    return this.list().flatMap(({ id, state, counts }) =>
      state === "active" ? [{ silence: id, counts }] : [],
    );
  }

  #isActive({ ended, untilMs }: Silence): boolean {
    return ended === null && this.#ports.clock.trusted() < untilMs;
  }

  #find(id: string): Silence {
    const exact = this.#all.get(id);
    if (exact) return exact;
    const fits = (each: string) => id.length >= 4 && (each.startsWith(id) || each.endsWith(id));
    const found = [...this.#all.values()].filter((silence) => fits(silence.id));
    if (found.length === 1) return found[0]!;
    if (found.length === 0)
      throw new HoldfastError(
        "not_found",
        `there is no silence ${id}: holdfast silence list --all shows what there is`,
      );
    throw new HoldfastError("conflict", `${found.length} silences have ids like ${id}: give more of it`);
  }

  #shown(silence: Silence): ShownSilence {
    return { ...silence, state: this.#isActive(silence) ? "active" : "ended", nextMs: null };
  }

  #shownWindows(): ShownSilence[] {
    return this.#ports.windows.all().map(({ definition, untilMs, nextMs }) => ({
      id: `${WINDOW_PREFIX}${definition.name}`,
      match: definition.match,
      mute: definition.match.length === 0 ? [] : definition.mute,
      comment: definition.brake
        ? "maintenance window; the brake is on while it is open"
        : "maintenance window",
      createdBy: "configuration",
      createdMs: 0,
      untilMs,
      ended: null,
      counts: this.#windowCounts.get(definition.name) ?? noCounts(),
      state: untilMs === null ? "closed" : "active",
      nextMs,
    }));
  }

  #count(what: Mute, silences: Silence[], windows: { name: string; mute: Mute[] }[]): void {
    this.totals[what]++;
    for (const silence of silences) {
      if (!silence.mute.includes(what)) continue;
      silence.counts[what]++;
      this.#dirty.add(silence);
    }
    for (const { name, mute } of windows) {
      if (!mute.includes(what)) continue;
      const counts = this.#windowCounts.get(name) ?? noCounts();
      counts[what]++;
      this.#windowCounts.set(name, counts);
    }
    if (this.#dirty.size > 0 && this.#cancelFlush === null && !this.#stopped)
      this.#cancelFlush = this.#ports.clock.after(FLUSH_MS, () => void this.#flush());
  }

  async #flush(): Promise<void> {
    this.#cancelFlush = null;
    const { store, clock, log } = this.#ports;
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    const nowMs = clock.trusted();
    const stored = await Promise.allSettled(dirty.map((silence) => store.putSilence({ ...silence }, nowMs)));
    const failed = stored.find((each) => each.status === "rejected");
    if (failed) log.warn("what silences count could not be stored", { error: messageOf(failed.reason) });
  }

  /** Of those that are over the oldest. */
  #forget(): void {
    const over = [...this.#all.values()].filter((silence) => !this.#isActive(silence));
    for (const { id } of over.slice(0, Math.max(0, over.length - MAX_OVER))) this.#all.delete(id);
  }
}
