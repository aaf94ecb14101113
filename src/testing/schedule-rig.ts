import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { watchClock } from "../agent/clock-watch.ts";
import { EventRecorder } from "../agent/events/recorder.ts";
import { RuleSet } from "../agent/rules/rule-set.ts";
import { Schedules } from "../agent/schedules/schedules.ts";
import type { Ids } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import { TimeWatch } from "../core/time-watch.ts";
import { CLOCK_TRIGGER } from "../model/clock-event.ts";
import type { CloudEvent } from "../model/event.ts";
import type { Json } from "../model/json.ts";
import { HoldfastError } from "../core/errors.ts";
import { newRun } from "../model/run-build.ts";
import type { RuleDefinition } from "../model/rule.ts";
import type { RunRow } from "../model/run.ts";
import { SCHEDULE_PREFIX, type ScheduleDefinition } from "../model/schedule.ts";
import { parseTiming, type TimingInput, zoneCache } from "../model/schedule-timing.ts";
import { pipeline, step } from "./definitions.ts";
import { type InProcessStore, openInProcessStore } from "./in-process-store.ts";
import { AGENT } from "./rule-rig.ts";
import { VirtualClock } from "./virtual-clock.ts";

const zones = zoneCache(() => "UTC");

export function schedule(
  name: string,
  timing: TimingInput,
  rest: Partial<ScheduleDefinition> = {},
): ScheduleDefinition {
  return {
    name,
    enabled: true,
    timing: parseTiming(timing, zones),
    run: "p",
    params: {},
    missed: "skip",
    maxMissed: 100,
    spreadMs: 0,
    ...rest,
  };
}

/** Schedules with the real recorder and rules over the real store in this process, on a clock that stands still. */
export class ScheduleRig {
  readonly clock: VirtualClock;
  readonly folder = mkdtempSync(join(tmpdir(), "holdfast-schedules-"));
  readonly admitted: RunRow[] = [];
  /** Pipelines that there are. */
  readonly pipelines = new Set(["p"]);
  readonly counts = { records: 0 };
  store!: InProcessStore;
  recorder!: EventRecorder;
  schedules!: Schedules;
  watch!: TimeWatch;
  #unwatch = () => {};
  /** Replaced to hold schedules back. */
  room: () => Promise<void> = async () => {};
  #ids = 0;

  readonly ids: Ids = {
    next: () => `id-${String(this.#ids++).padStart(6, "0")}`,
    random: () => 0.5,
    hex: (bytes) => (this.#ids++).toString(16).padStart(bytes * 2, "0"),
  };

  constructor(wallMs = Date.UTC(2026, 5, 1)) {
    this.clock = new VirtualClock(wallMs);
  }

  async open(definitions: ScheduleDefinition[], rules: RuleDefinition[] = []): Promise<void> {
    const { clock, ids, folder } = this;
    this.store = await openInProcessStore({
      path: join(folder, "agent.db"),
      ids,
      wall: () => clock.wall(),
      onCrash: () => {},
    });
    const { store } = this;
    const recorder = new EventRecorder({
      agentId: AGENT.id,
      store,
      rules: new RuleSet(rules, { agent: AGENT, newId: () => ids.next(), maxEventBytes: 100_000 }),
      runs: {
        room: () => this.room(),
        build: ({ pipeline: name, starter, event, params, parent = null }) => {
          if (!this.pipelines.has(name))
            throw new HoldfastError("not_found", `there is no pipeline ${name} here`);
          return newRun({
            id: ids.next(),
            definition: pipeline([step("a")], { name }),
            definitionHash: "h",
            rule: null,
            starter,
            event: { source: event.source, id: event.id },
            params,
            parent,
            createdMs: clock.wall(),
          });
        },
        lease: (made) => made,
        drop: () => {},
        admit: (runs) => void this.admitted.push(...runs.map(({ run }) => run)),
      },
      clock,
      ids,
      log: silentLogger(),
      maxEventBytes: 100_000,
    });
    this.recorder = recorder;
    await recorder.start();
    this.watch = new TimeWatch(clock);
    this.schedules = new Schedules({
      agentId: AGENT.id,
      remembered: (keep) => store.checkpointsOf(SCHEDULE_PREFIX, keep),
      record: (trigger, given, memory) => {
        this.counts.records++;
        return recorder.recordStarting(trigger, given, { checkpoint: memory });
      },
      room: () => this.room(),
      clock,
      watch: this.watch,
      log: silentLogger(),
    });
    await this.schedules.start(definitions);
    this.#unwatch = watchClock({
      watch: this.watch,
      record: (event) => recorder.record(CLOCK_TRIGGER, [event], undefined),
      clock,
      log: silentLogger(),
    });
  }

  /** Ends as an agent does that is told to. */
  async close(): Promise<void> {
    this.#unwatch();
    await this.schedules.stop();
    await this.recorder.stop();
    await this.store.close();
  }

  /** Ends in the middle of whatever is under way. */
  crash(): void {
    this.store.crash();
    // What the dead process would still do goes nowhere; its timers must not tick on.
    this.#unwatch();
    void this.schedules.stop();
    void this.recorder.stop();
  }

  async remove(): Promise<void> {
    await this.close();
    rmSync(this.folder, { recursive: true });
  }

  /** `await using`: the folder goes also when the test fails. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.remove();
  }

  async events(): Promise<CloudEvent[]> {
    return (await this.store.eventsAfter(0, 100_000)).map(({ body }) => JSON.parse(body) as CloudEvent);
  }

  /** Due times that fired, as the time of day, with what was missed before them. */
  async fired(): Promise<string[]> {
    return (await this.events())
      .filter(({ type }) => type === "schedule.due")
      .map(({ data }) => data as { [key: string]: Json })
      .map(({ scheduledMs, missed }) => {
        const time = new Date(scheduledMs as number).toISOString().slice(11, 19);
        return missed === 0 ? time : `${time} +${missed}`;
      });
  }

  async told(): Promise<number[]> {
    return (await this.events())
      .filter(({ type }) => type === "schedule.missed")
      .map(({ data }) => (data as { missed: number }).missed);
  }

  /** A run that somebody starts by hand; gives its id. */
  async someRun(): Promise<string> {
    const made = newRun({
      id: this.ids.next(),
      definition: pipeline([step("a")], { name: "p" }),
      definitionHash: "h",
      rule: null,
      starter: { kind: "manual", by: "local:0" },
      event: null,
      params: {},
      createdMs: this.clock.wall(),
    });
    await this.store.startRuns([made]);
    return made.run.id;
  }

  async runs(): Promise<RunRow[]> {
    return (await this.store.runs({ limit: 100_000 })).map(({ run }) => run).toReversed();
  }
}
