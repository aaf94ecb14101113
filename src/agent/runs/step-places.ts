/** Must not reject. Calls `free` when it needs its place no more, at the latest it is free when it settles. */
type Work = (free: () => void) => Promise<void>;

/** A place that is taken. Exactly one of the two is to be called. */
export interface StepPlace {
  begin(work: Work): void;
  giveBack(): void;
}

/** First in, first out, in constant time. */
class Fifo<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined;
    if (this.#head > 1000 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}

/** Places for steps on the agent (`limits.steps`): by the priority of their runs, then first come, first served. */
export class StepPlaces {
  readonly #max: number;
  readonly #queues = new Map<number, Fifo<Work>>();
  /** Priorities that have a queue, the highest first. */
  #priorities: number[] = [];
  #waiting = 0;
  #inFlight = 0;
  #unsettled = 0;
  #stopped = false;
  #idle: (() => void)[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  /** Places that are taken. */
  get inFlight(): number {
    return this.#inFlight;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** `work` begins when there is a place. */
  add(priority: number, work: Work): void {
    if (this.#stopped) return;
    if (this.hasRoom(0)) return this.#take().begin(work);
    let queue = this.#queues.get(priority);
    if (!queue) {
      this.#queues.set(priority, (queue = new Fifo()));
      this.#priorities = [...this.#queues.keys()].sort((a, b) => b - a);
    }
    queue.push(work);
    this.#waiting++;
  }

  /** Whether work would begin at once, and so would the `ahead` pieces of work that come before it. */
  hasRoom(ahead: number): boolean {
    return !this.#stopped && this.#waiting === 0 && this.#inFlight + ahead < this.#max;
  }

  /** A place for work that is not there yet; the caller has seen that there is room. */
  reserve(): StepPlace {
    return this.#take();
  }

  stop(): void {
    this.#stopped = true;
    this.#queues.clear();
    this.#priorities = [];
    this.#waiting = 0;
  }

  /** Resolves when all work has settled. */
  idle(): Promise<void> {
    if (this.#unsettled === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #take(): StepPlace {
    this.#inFlight++;
    this.#unsettled++;
    let freed = false;
    const free = () => {
      if (freed) return;
      freed = true;
      this.#inFlight--;
      this.#next();
    };
    const giveBack = () => {
      free();
      if (--this.#unsettled === 0) for (const resolve of this.#idle.splice(0)) resolve();
    };
    return { begin: (work) => void work(free).then(giveBack), giveBack };
  }

  #next(): void {
    while (this.#waiting > 0 && this.#inFlight < this.#max) {
      const queue = this.#queues.get(
        this.#priorities.find((priority) => this.#queues.get(priority)!.size > 0)!,
      )!;
      this.#waiting--;
      this.#take().begin(queue.shift()!);
    }
  }
}
