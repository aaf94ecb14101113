import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { HealthCheck } from "../../model/agent-status.ts";
import {
  type Amounts,
  RESOURCE_NAMES,
  type ResourceName,
  resourceText,
  type ResourceUses,
} from "../../model/resource-use.ts";
import { decide, type LimitState, type Reaction, UNTROUBLED } from "./decide.ts";
import type { Trimmed } from "./trim-logs.ts";

/** Down to this share of the disk's limit rotated logs are removed. */
const TRIM_TO = 0.9;

export interface SelfLimitsOptions {
  limits: Amounts;
  intervalMs: number;
  sample: () => Amounts;
  gate: { set(to: { delayMs: number; held: boolean }): void };
  /** How many were stopped. */
  stopIdleWorkers: () => number;
  /** The trigger whose worker uses most is started again; its name, null when none runs. */
  restartLargestTrigger: (reason: string) => string | null;
  collectGarbage: () => void;
  trimLogs: (bytes: number) => Trimmed;
  clock: Clock;
  log: Logger;
}

export interface ResourceCounters {
  /** Times a level was entered. */
  warnings: Record<ResourceName, number>;
  overruns: Record<ResourceName, number>;
  reactions: Partial<Record<Reaction | "slow_triggers" | "hold_triggers", number>>;
}

/** Holds the agent with all its workers to `limits` of the configuration: tells in time, then gives way, never silently. */
export class SelfLimits {
  readonly counters: ResourceCounters = {
    warnings: { memory: 0, cpu: 0, disk: 0 },
    overruns: { memory: 0, cpu: 0, disk: 0 },
    reactions: {},
  };
  readonly #options: SelfLimitsOptions;
  #state: LimitState = UNTROUBLED;
  #used: Amounts = { memory: 0, cpu: 0, disk: 0 };
  /** What was last done, as long as the resource is above its limit. */
  #done: Partial<Record<ResourceName, string>> = {};
  #cancel = () => {};

  constructor(options: SelfLimitsOptions) {
    this.#options = options;
  }

  /** Looks at once, and then at each interval. */
  start(): void {
    this.look();
    const { clock, intervalMs } = this.#options;
    this.#cancel = clock.after(intervalMs, () => this.start());
  }

  stop(): void {
    this.#cancel();
  }

  uses(): ResourceUses {
    const use = (name: ResourceName) => {
      const reaction = this.#done[name];
      return {
        used: this.#used[name],
        limit: this.#options.limits[name],
        level: this.#state.levels[name],
        ...(reaction === undefined ? {} : { reaction }),
      };
    };
    return { memory: use("memory"), cpu: use("cpu"), disk: use("disk") };
  }

  check(): HealthCheck {
    const uses = this.uses();
    const troubled = RESOURCE_NAMES.filter((name) => uses[name].level !== "ok");
    if (troubled.length === 0) return { name: "resources", state: "ok" };
    const reason = troubled.map((name) => resourceText(name, uses[name])).join("; ");
    return { name: "resources", state: "degraded", reason };
  }

  /** One sample, and what follows from it. Never throws. */
  look(): void {
    const { limits, sample, gate, log } = this.#options;
    try {
      this.#used = sample();
    } catch (error) {
      return log.error("the agent's own resources cannot be measured", { error: messageOf(error) });
    }
    const before = this.#state;
    const { state, reactions } = decide(this.#used, limits, before);
    this.#state = state;
    for (const reaction of reactions) this.#react(reaction);
    this.#slow(before, state);
    gate.set(state);
    for (const name of RESOURCE_NAMES) this.#tell(name, before);
  }

  #react(reaction: Reaction): void {
    const { stopIdleWorkers, restartLargestTrigger, collectGarbage, trimLogs, limits } = this.#options;
    switch (reaction) {
      case "stop_idle_workers": {
        const stopped = stopIdleWorkers();
        return this.#note(
          "memory",
          reaction,
          `idle workers of actions are stopped (${stopped} now)`,
          stopped > 0,
        );
      }
      case "collect_garbage":
        this.#count(reaction);
        return collectGarbage();
      case "restart_trigger": {
        const why = resourceText("memory", {
          ...this.uses().memory,
          reaction: "the largest trigger is restarted",
        });
        const name = restartLargestTrigger(`the agent passed limits.memory: ${why}`);
        return this.#note("memory", reaction, `trigger ${name} is started again`, name !== null);
      }
      case "trim_logs": {
        const { files, bytes } = trimLogs(this.#used.disk - limits.disk * TRIM_TO);
        this.#used = { ...this.#used, disk: this.#used.disk - bytes };
        return this.#note("disk", reaction, `${files} rotated logs were removed`, files > 0);
      }
    }
  }

  /** What lasts until there is room again. */
  #slow(before: LimitState, { delayMs, held }: LimitState): void {
    if (delayMs > before.delayMs) {
      this.#note("cpu", "slow_triggers", `each batch of events of triggers waits ${delayMs} ms`, true);
    } else if (delayMs > 0) this.#done.cpu = `each batch of events of triggers waits ${delayMs} ms`;
    else delete this.#done.cpu;
    const wait = "triggers are paused: their events wait until there is room";
    if (held && !before.held) this.#note("disk", "hold_triggers", wait, true);
    else if (held) this.#done.disk = wait;
  }

  /** `happened`: false when there was nothing to do it to. */
  #note(
    name: ResourceName,
    reaction: Reaction | "slow_triggers" | "hold_triggers",
    text: string,
    happened: boolean,
  ) {
    if (!happened) return;
    this.#count(reaction);
    this.#done[name] = text;
    const { reaction: _, ...use } = this.uses()[name];
    this.#options.log.warn(`limits.${name} is passed: ${text}`, { ...use });
  }

  #count(reaction: keyof ResourceCounters["reactions"]): void {
    this.counters.reactions[reaction] = (this.counters.reactions[reaction] ?? 0) + 1;
  }

  #tell(name: ResourceName, before: LimitState): void {
    const { log } = this.#options;
    const level = this.#state.levels[name];
    const was = before.levels[name];
    if (level !== "over" && name !== "cpu") delete this.#done[name];
    if (level === was) return;
    const text = resourceText(name, this.uses()[name]);
    if (level === "ok") return log.info(`within limits.${name} again: ${text}`);
    if (level === "over") {
      this.counters.overruns[name]++;
      return log.warn(`limits.${name} is passed: ${text}`);
    }
    if (was === "over") return log.info(`below limits.${name} again: ${text}`);
    this.counters.warnings[name]++;
    log.warn(`close to limits.${name}: ${text}`);
  }
}
