import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import type { OutputDelivery } from "../../model/agent-status.ts";
import type { CloudEvent, ProposedEvent } from "../../model/event.ts";
import { type BatchProblem, batchOutcome, type RejectedEvent } from "../../model/output-batch.ts";
import { Backlog, type Waiting } from "./backlog.ts";
import { problemOf } from "./batch-problem.ts";
import { LossCount, lostEvent } from "./losses.ts";
import { OutputBreaker, type OutputPatience } from "./output-breaker.ts";

export interface PumpOptions extends OutputPatience {
  name: string;
  batch: { events: number; bytes: number; delayMs: number };
  /** Events that wait at most; the oldest beyond them are let go and counted. */
  backlog: number;
  accepts(event: CloudEvent): boolean;
}

export interface PumpPorts {
  write(events: CloudEvent[]): Promise<void>;
  eventsAfter(n: number, limit: number): Promise<{ n: number; body: string }[]>;
  lastEvent(): Promise<number>;
  cursor(output: string): Promise<number | undefined>;
  setCursor(output: string, n: number): Promise<void>;
  /** Resolves when the event is kept, or was already. */
  tell(event: ProposedEvent): Promise<void>;
  clock: Clock;
  ids: Ids;
  log: Logger;
}

/** Events that are let go at once: the same ones after a crash, so that the loss is told once. */
const LET_GO = 10_000;
/** A loss is news for so long. */
const NEWS_MS = 60 * 60_000;

/**
 * Carries committed events to one output, each at least once and in their order. The durable cursor moves only over what
 * the destination took, or refused for good, or what was told as lost: after a crash a batch may come once more.
 */
export class OutputPump {
  readonly #options: PumpOptions;
  readonly #ports: PumpPorts;
  readonly #breaker: OutputBreaker;
  readonly #stopping = new AbortController();
  readonly #lost: Record<string, number> = {};
  #wake = () => {};
  #poked = true;
  #behind = 0;
  #rejected = 0;
  #limit: number;
  #lastLossMs = -Infinity;
  #lastError: string | undefined;

  constructor(options: PumpOptions, ports: PumpPorts) {
    this.#options = options;
    this.#ports = ports;
    this.#breaker = new OutputBreaker(options, ports.ids.random);
    this.#limit = options.batch.events;
  }

  /** Called after each commit that may have added events. */
  poke(): void {
    this.#poked = true;
    this.#wake();
  }

  stop(): void {
    this.#stopping.abort();
    this.poke();
  }

  delivery(): OutputDelivery {
    const { state, failures } = this.#breaker;
    return {
      behind: this.#behind,
      circuit: state,
      failures,
      rejected: this.#rejected,
      lost: { ...this.#lost },
      recentLoss: this.#ports.clock.mono() - this.#lastLossMs < NEWS_MS,
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
    };
  }

  /** Works until it is stopped; a store that fails is waited for like a destination. */
  async run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        await this.#live();
      } catch (error) {
        if (!this.#stopping.signal.aborted) await this.#failed(messageOf(error), "output cannot go on");
      }
    }
  }

  async #live(): Promise<void> {
    const { name, accepts } = this.#options;
    const { cursor, setCursor, lastEvent, eventsAfter } = this.#ports;
    const known = await cursor(name);
    // A new output starts with what happens from now on, not with all that is stored.
    const start = known ?? (await lastEvent());
    if (known === undefined) await setCursor(name, start);
    const backlog = new Backlog(start, { eventsAfter, accepts });
    while (!this.#stopping.signal.aborted) {
      this.#poked = false;
      if (await this.#fill(backlog)) await this.#writeFront(backlog);
      else await this.#idle();
    }
  }

  /** False when there is nothing to write. */
  async #fill(backlog: Backlog): Promise<boolean> {
    await this.#keepWithinCap(backlog);
    const { batch } = this.#options;
    await this.#read(backlog);
    const waits = !backlog.isEmpty && !backlog.holds(batch) && batch.delayMs > 0;
    if (waits && this.#breaker.failures === 0) {
      await this.#sleep(batch.delayMs);
      await this.#read(backlog);
    }
    return !backlog.isEmpty && !this.#stopping.signal.aborted;
  }

  async #read(backlog: Backlog): Promise<void> {
    const { name, batch } = this.#options;
    while (!backlog.holds(batch) && !this.#stopping.signal.aborted) {
      if (!(await backlog.readPage())) break;
      await this.#tellGaps(backlog);
      // What does not match is done with.
      if (backlog.isEmpty) await this.#ports.setCursor(name, backlog.cursor);
    }
  }

  async #writeFront(backlog: Backlog): Promise<void> {
    const { name, batch } = this.#options;
    const waiting = backlog.front({ events: this.#limit, bytes: batch.bytes });
    const problem = await this.#write(waiting);
    if (problem !== null && this.#stopping.signal.aborted && problem.taken === 0) return;
    const { taken, rejected, next } = batchOutcome(waiting.length, problem);
    this.#reject(waiting, rejected);
    if (taken > 0 || rejected.length > 0) {
      const before = backlog.cursor;
      backlog.settle({ taken, rejected });
      if (backlog.cursor !== before) await this.#ports.setCursor(name, backlog.cursor);
    }
    if (next === "split") this.#limit = Math.ceil(waiting.length / 2);
    else if (next === "go_on") this.#limit = Math.min(batch.events, this.#limit * 2);
    if (taken > 0 || next !== "wait") this.#recovered();
    if (next === "wait")
      await this.#failed(problem!.message, "output refused a batch; it will be tried again");
  }

  async #write(waiting: Waiting[]): Promise<BatchProblem | null> {
    try {
      await this.#ports.write(waiting.map(({ event }) => event));
      return null;
    } catch (error) {
      return problemOf(error);
    }
  }

  #reject(waiting: Waiting[], rejected: RejectedEvent[]): void {
    if (rejected.length === 0) return;
    this.#rejected += rejected.length;
    const { index, reason } = rejected[0]!;
    const { source, id, type } = waiting[index]!.event;
    this.#ports.log.error("output refused events for good; they are set aside", {
      output: this.#options.name,
      events: rejected.length,
      first: { source, id, type },
      reason,
    });
  }

  #recovered(): void {
    if (this.#breaker.failures > 0) {
      this.#ports.log.info("output takes events again", {
        output: this.#options.name,
        failures: this.#breaker.failures,
      });
    }
    this.#breaker.succeeded();
    this.#lastError = undefined;
  }

  async #failed(error: string, message: string): Promise<void> {
    const delayMs = this.#breaker.failed();
    this.#lastError = error;
    const { failures, state: circuit } = this.#breaker;
    const facts = { output: this.#options.name, error, failures, circuit, delayMs: Math.round(delayMs) };
    this.#ports.log.warn(message, facts);
    await this.#sleep(delayMs);
    this.#breaker.elapsed();
  }

  /** Lets the oldest events go, a whole portion at a time, while more wait than may. */
  async #keepWithinCap(backlog: Backlog): Promise<void> {
    const last = await this.#ports.lastEvent();
    this.#behind = last - backlog.cursor;
    const portion = Math.min(LET_GO, this.#options.backlog);
    while (last - backlog.cursor > this.#options.backlog && !this.#stopping.signal.aborted) {
      const range = { first: backlog.cursor + 1, last: backlog.cursor + portion };
      const count = new LossCount();
      count.add(backlog.takeUpTo(range.last));
      // Also of the last page: where numbers are gone it reaches beyond the range, and is the end of it.
      for (let more = true; more;) {
        more = await backlog.readPage(range.last);
        count.add(backlog.takeUpTo(range.last));
      }
      await this.#tellGaps(backlog);
      backlog.skipTo(range.last);
      await this.#lose(range, count);
      await this.#ports.setCursor(this.#options.name, backlog.cursor);
      this.#behind = last - backlog.cursor;
    }
  }

  /** Numbers that were not there: the store had to make room before the output came to them. */
  async #tellGaps(backlog: Backlog): Promise<void> {
    for (let gap = backlog.gaps[0]; gap; gap = backlog.gaps[0]) {
      const count = new LossCount();
      count.addUnknown(gap.last - gap.first + 1);
      await this.#lose(gap, count);
      backlog.gaps.shift();
    }
  }

  async #lose(range: { first: number; last: number }, count: LossCount): Promise<void> {
    if (count.total === 0) return;
    const { name } = this.#options;
    await this.#unlessStopped(this.#ports.tell(lostEvent(name, range, count)));
    for (const each of count.classes())
      this.#lost[each.severity] = (this.#lost[each.severity] ?? 0) + each.count;
    this.#lastLossMs = this.#ports.clock.mono();
    this.#ports.log.error("output is too far behind; events do not reach it", {
      output: name,
      ...range,
      lost: count.total,
    });
  }

  /** An event that waits for room must not hold up the end. */
  async #unlessStopped(work: Promise<void>): Promise<void> {
    const { signal } = this.#stopping;
    signal.throwIfAborted();
    const { promise: stopped, reject } = Promise.withResolvers<never>();
    const onStop = () => reject(signal.reason);
    signal.addEventListener("abort", onStop, { once: true });
    await Promise.race([work, stopped]).finally(() => signal.removeEventListener("abort", onStop));
  }

  async #idle(): Promise<void> {
    // Whatever failed before is over: nothing waits.
    this.#breaker.succeeded();
    this.#lastError = undefined;
    if (!this.#poked) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  async #sleep(ms: number): Promise<void> {
    await this.#ports.clock.sleep(ms, this.#stopping.signal).catch(() => {});
  }
}
