import { Heap } from "../../core/heap.ts";

export interface PlaceRequest {
  run: string;
  pipeline: string;
  /** Runs with the same one share `limits.byKey` places. */
  key: string | null;
  /** Higher ones first; among equals the older. */
  priority: number;
}

export interface PlaceLimits {
  pipeline: number;
  byKey: number;
}

interface Entry extends PlaceRequest {
  seq: number;
  /** `held`: every place of its key is taken or promised; `eligible`: waits for a place of the pipeline only. */
  place: "held" | "eligible" | "begun" | "gone";
}

interface KeyPlaces {
  begun: number;
  eligible: Set<Entry>;
  held: Heap<Entry>;
}

interface PipelinePlaces {
  limits: PlaceLimits;
  begun: Set<Entry>;
  /** May hold entries that are no longer eligible: they are passed over. */
  eligible: Heap<Entry>;
  keys: Map<string, KeyPlaces>;
}

const byRank = (a: Entry, b: Entry) => b.priority - a.priority || a.seq - b.seq;

/**
 * Which runs may be under way: places of a pipeline and of a key, by priority, then first come, first served. Each
 * operation costs at most the logarithm of the runs that wait.
 */
export class RunPlaces {
  readonly #begin: (run: string) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #pipelines = new Map<string, PipelinePlaces>();
  #seq = 0;
  #waiting = 0;
  #stopped = false;

  /** `begin`: a run has got its place. */
  constructor(begin: (run: string) => void) {
    this.#begin = begin;
  }

  /** Runs that wait for a place. */
  get waiting(): number {
    return this.#waiting;
  }

  hasBegun(run: string): boolean {
    return this.#entries.get(run)?.place === "begun";
  }

  waits(run: string): boolean {
    const entry = this.#entries.get(run);
    return entry !== undefined && entry.place !== "begun";
  }

  /**
   * What a run that waits for a place waits for: of each of these fewer than the limit may be under way. Those that
   * stand in front of it come to a place themselves when it does.
   */
  *before(run: string): Iterable<{ runs: string[]; limit: number }> {
    const entry = this.#entries.get(run);
    if (entry === undefined || entry.place === "begun") return;
    const { begun, limits } = this.#pipelines.get(entry.pipeline)!;
    const all = [...begun];
    yield { runs: all.map((other) => other.run), limit: limits.pipeline };
    if (entry.key === null) return;
    const ofKey = all.filter((other) => other.key === entry.key);
    yield { runs: ofKey.map((other) => other.run), limit: limits.byKey };
  }

  /** `begun`: the run had its place before a restart and keeps it, whatever the limits say now. */
  add(request: PlaceRequest, limits: PlaceLimits, begun: boolean): void {
    const places = this.#placesOf(request.pipeline, limits);
    const entry: Entry = { ...request, seq: this.#seq++, place: "held" };
    this.#entries.set(request.run, entry);
    this.#waiting++;
    if (begun) return this.#take(places, entry);
    if (
      entry.key === null &&
      places.eligible.size === 0 &&
      places.begun.size < limits.pipeline &&
      !this.#stopped
    ) {
      return this.#take(places, entry);
    }
    this.#offer(places, entry);
    this.#beginNext(places);
  }

  /** Whether a run without a key would have its place at once, and so would the `ahead` that come before it. */
  hasRoom(pipeline: string, limits: PlaceLimits, ahead: number): boolean {
    const places = this.#placesOf(pipeline, limits);
    return !this.#stopped && places.eligible.size === 0 && places.begun.size + ahead < limits.pipeline;
  }

  /** Gives a run without a key, for which there is room, its place before it is there; `remove` gives it back. */
  reserve(request: PlaceRequest, limits: PlaceLimits): void {
    const entry: Entry = { ...request, seq: this.#seq++, place: "begun" };
    this.#entries.set(request.run, entry);
    this.#placesOf(request.pipeline, limits).begun.add(entry);
  }

  remove(run: string): void {
    const entry = this.#entries.get(run);
    if (!entry) return;
    this.#entries.delete(run);
    const places = this.#pipelines.get(entry.pipeline)!;
    const key = entry.key === null ? null : places.keys.get(entry.key)!;
    if (entry.place === "begun") {
      places.begun.delete(entry);
      if (key) key.begun--;
    } else this.#waiting--;
    key?.eligible.delete(entry);
    entry.place = "gone";
    if (key) this.#promote(places, entry.key!, key);
    this.#beginNext(places);
  }

  stop(): void {
    this.#stopped = true;
  }

  #placesOf(pipeline: string, limits: PlaceLimits): PipelinePlaces {
    let places = this.#pipelines.get(pipeline);
    if (places) places.limits = limits;
    else {
      places = { limits, begun: new Set(), eligible: new Heap(byRank), keys: new Map() };
      this.#pipelines.set(pipeline, places);
    }
    return places;
  }

  #keyOf(places: PipelinePlaces, name: string): KeyPlaces {
    let key = places.keys.get(name);
    if (!key) places.keys.set(name, (key = { begun: 0, eligible: new Set(), held: new Heap(byRank) }));
    return key;
  }

  /** Makes it eligible, or holds it back: of one key never more are eligible than may begin. */
  #offer(places: PipelinePlaces, entry: Entry): void {
    if (entry.key !== null) {
      const key = this.#keyOf(places, entry.key);
      if (key.begun + key.eligible.size >= places.limits.byKey) {
        const last = [...key.eligible].sort(byRank).at(-1);
        if (last === undefined || byRank(last, entry) < 0) return void key.held.push(entry);
        key.eligible.delete(last);
        last.place = "held";
        key.held.push(last);
      }
      key.eligible.add(entry);
    }
    entry.place = "eligible";
    places.eligible.push(entry);
  }

  #promote(places: PipelinePlaces, name: string, key: KeyPlaces): void {
    while (key.held.size > 0 && key.begun + key.eligible.size < places.limits.byKey) {
      const entry = key.held.pop()!;
      if (entry.place !== "held") continue;
      entry.place = "eligible";
      key.eligible.add(entry);
      places.eligible.push(entry);
    }
    if (key.begun + key.eligible.size + key.held.size === 0) places.keys.delete(name);
  }

  #take(places: PipelinePlaces, entry: Entry): void {
    entry.place = "begun";
    this.#waiting--;
    places.begun.add(entry);
    if (entry.key !== null) {
      const key = this.#keyOf(places, entry.key);
      key.eligible.delete(entry);
      key.begun++;
    }
    this.#begin(entry.run);
  }

  #beginNext(places: PipelinePlaces): void {
    while (!this.#stopped && places.eligible.size > 0 && places.begun.size < places.limits.pipeline) {
      const entry = places.eligible.pop()!;
      if (entry.place === "eligible") this.#take(places, entry);
    }
  }
}
