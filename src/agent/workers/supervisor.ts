import type { BackoffPolicy } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { PartState, PartStatus } from "../../model/agent-status.ts";
import type { GrantSummary } from "../../model/grant.ts";
import type { Verdict } from "../../model/worker-end.ts";
import { CrashRecord } from "./crash-record.ts";
import { isHostTrouble } from "./host-trouble.ts";

/** How one life of a part ended. `counts`: it is the plugin's fault and leads towards quarantine. */
export interface PartEnd {
  clean: boolean;
  reason: string;
  counts: boolean;
  /** How the worker ended, when it had been started. */
  verdict?: Verdict;
  /** To start it again would not help: it is not granted what it needs. */
  final?: boolean;
}

/** One life of a part: a worker that was started and does its work. */
export interface Incarnation {
  /** What the worker was granted. */
  granted?: GrantSummary;
  /** Of the worker's process. */
  pid?: number;
  ended: Promise<PartEnd>;
  stop(): Promise<void>;
}

export interface SupervisorOptions<T extends Incarnation> {
  name: string;
  plugin: string;
  kind: PartStatus["kind"];
  /** Resolves when the part works; throws with why it does not, soon after the signal aborts. */
  start(stopping: AbortSignal): Promise<T>;
  clock: Clock;
  backoff: BackoffPolicy;
  random: () => number;
  log: Logger;
  onChange?: ((status: PartStatus) => void) | undefined;
}

/** Keeps one part alive: starts it again with growing delays, and gives it up after too many crashes. */
export class Supervisor<T extends Incarnation> {
  readonly #options: SupervisorOptions<T>;
  readonly #crashes: CrashRecord;
  readonly #stopping = new AbortController();
  readonly #loop: Promise<void>;
  #status: PartStatus;
  #current: T | undefined;
  /** Ends a rest in `stopped` or `quarantined`, or a wait between two starts. */
  #again = new AbortController();
  #watchers: (() => void)[] = [];
  /** Why its end is to be followed by a start at once. */
  #restartFor: string | undefined;

  constructor(options: SupervisorOptions<T>) {
    const { name, plugin, kind } = options;
    this.#options = options;
    this.#crashes = new CrashRecord(options.backoff);
    this.#status = { name, plugin, kind, state: "starting", restarts: 0 };
    this.#loop = this.#run();
  }

  status(): PartStatus {
    return { ...this.#status };
  }

  /** Takes a part out of quarantine (or out of `stopped`, or of a wait) and starts it at once. */
  reset(): void {
    if (this.#current) return;
    this.#crashes.clear();
    this.#again.abort();
  }

  /** Of the worker that runs now. */
  get pid(): number | undefined {
    return this.#current?.pid;
  }

  /** Lets it finish what is under way, and starts it again; that is no crash. False when it does not run. */
  restart(reason: string): boolean {
    if (!this.#current || this.#status.state !== "running") return false;
    this.#restartFor = reason;
    this.#set("draining", reason);
    void this.#current.stop();
    return true;
  }

  /** The running part. Waits while it starts; rejects with the reason when it does not run. */
  async running(): Promise<T> {
    for (;;) {
      if (this.#current && this.#status.state === "running") return this.#current;
      if (this.#status.state !== "starting") {
        const { kind, name, state, reason } = this.#status;
        throw new Error(`${kind} ${name} is ${state}${reason === undefined ? "" : `: ${reason}`}`);
      }
      await new Promise<void>((resolve) => this.#watchers.push(resolve));
    }
  }

  async stop(): Promise<void> {
    if (!this.#stopping.signal.aborted) {
      this.#stopping.abort();
      if (this.#current) this.#set("draining");
      this.#again.abort();
      await this.#current?.stop();
    }
    await this.#loop;
  }

  async #run(): Promise<void> {
    const stopping = this.#stopping.signal;
    while (!stopping.aborted) {
      this.#set("starting");
      const end = await this.#live();
      this.#current = undefined;
      if (stopping.aborted) break;
      const wanted = this.#restartFor !== undefined;
      this.#restartFor = undefined;
      if (!wanted) await this.#rest(end);
      if (!stopping.aborted) this.#status.restarts++;
    }
    this.#set("stopped");
  }

  /** One life, from its start to its end. */
  async #live(): Promise<PartEnd> {
    let part: T;
    try {
      part = await this.#options.start(this.#stopping.signal);
    } catch (error) {
      const final = error instanceof HoldfastError && error.code === "denied";
      if (final)
        this.#status.refused = (error.details?.reasons as string[] | undefined) ?? [messageOf(error)];
      return { clean: false, reason: messageOf(error), counts: !isHostTrouble(error), final };
    }
    this.#current = part;
    if (part.granted) this.#status.granted = part.granted;
    if (this.#stopping.signal.aborted) await part.stop();
    else this.#set("running");
    return await part.ended;
  }

  /** What follows an end: nothing more, a wait, or quarantine. */
  async #rest(end: PartEnd): Promise<void> {
    const { clock, random, log, kind, name } = this.#options;
    const part = { [kind]: name };
    this.#again = new AbortController();
    if (end.clean) {
      this.#set("stopped", "it ended by itself");
      log.info(`${kind} ended by itself`, part);
      return await this.#waitForReset();
    }
    if (end.verdict) this.#status.verdict = end.verdict;
    if (end.final) {
      this.#set("failed", end.reason);
      log.error(`${kind} is not started`, { ...part, reason: end.reason });
      return await this.#waitForReset();
    }
    const next = this.#crashes.add(clock.mono(), end.reason, end.counts, random);
    if (next.kind === "quarantine") {
      this.#set("quarantined", next.reason);
      log.error(`${kind} is quarantined`, { ...part, reason: next.reason });
      return await this.#waitForReset();
    }
    this.#set("failed", end.reason);
    log.warn(`${kind} failed and is started again`, {
      ...part,
      reason: end.reason,
      delayMs: Math.round(next.delayMs),
    });
    await clock.sleep(next.delayMs, this.#again.signal).catch(() => {});
  }

  #waitForReset(): Promise<void> {
    const { signal } = this.#again;
    return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  }

  /** A reason stays while the part is started again, so that a restart count has its explanation. */
  #set(state: PartState, reason?: string): void {
    this.#status.state = state;
    if (reason !== undefined) this.#status.reason = reason;
    for (const resolve of this.#watchers.splice(0)) resolve();
    this.#options.onChange?.(this.status());
  }
}
