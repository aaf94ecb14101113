import { watchClock } from "../../agent/clock-watch.ts";
import type { EventRecorder } from "../../agent/events/recorder.ts";
import { Memory } from "../../agent/memory/memory.ts";
import { MemorySession } from "../../agent/memory/session.ts";
import { Parameters } from "../../agent/parameters/parameters.ts";
import { sealedParameters } from "../../agent/parameters/sealed-parameters.ts";
import type { RunEngine } from "../../agent/runs/engine.ts";
import { LaterRuns } from "../../agent/schedules/later-runs.ts";
import { Schedules } from "../../agent/schedules/schedules.ts";
import { Brake } from "../../agent/silences/brake.ts";
import { Silences } from "../../agent/silences/silences.ts";
import { MaintenanceWindows } from "../../agent/silences/windows.ts";
import { Secrets } from "../../agent/secrets/secrets.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import { TimeWatch } from "../../core/time-watch.ts";
import { CLOCK_TRIGGER } from "../../model/clock-event.ts";
import type { ProposedEvent } from "../../model/event.ts";
import { SCHEDULE_PREFIX, type ScheduleDefinition } from "../../model/schedule.ts";
import type { LaterRun } from "../../model/schedule-later.ts";
import type { InProcessStore } from "../in-process-store.ts";
import type { Incarnation } from "./incarnation.ts";
import { AGENT_ID } from "./names.ts";

interface Options {
  life: Incarnation;
  store: InProcessStore;
  ids: Ids;
  log: Logger;
  definitions: ScheduleDefinition[];
}

interface Beside {
  recorder: EventRecorder;
  engine: RunEngine;
}

/** The master key lies outside of the store, and no crash takes it away. */
const MASTER = { id: "simulated", key: new Uint8Array(32).fill(7) };

/** What time starts, and what plugins share, in one life of the agent: the real rooms, wired as the composition root does. */
export class SharedRooms {
  readonly memory: Memory;
  readonly secrets: Secrets;
  readonly parameters: Parameters;
  readonly later: LaterRuns;
  readonly schedules: Schedules;
  readonly brake: Brake;
  readonly silences: Silences;
  readonly #options: Options;
  readonly #watch: TimeWatch;
  #unwatch = () => {};
  #beside!: Beside;

  constructor(options: Options) {
    this.#options = options;
    const { life: clock, store, ids, log } = options;
    this.#watch = new TimeWatch(clock);
    const handedOut = () => {};
    this.memory = new Memory({ store, clock, log });
    this.secrets = new Secrets({
      store,
      masters: () => [MASTER],
      handedOut,
      random: (bytes) => new Uint8Array(Buffer.from(ids.hex(bytes), "hex")),
      clock,
      log,
    });
    this.parameters = new Parameters({
      store: sealedParameters(store, this.secrets),
      fixed: { global: new Map(), namespaces: new Map() },
      facts: { agent_id: AGENT_ID },
      handedOut,
      clock,
    });
    this.brake = new Brake({ store, windows: () => [], tell: async () => {}, clock, log });
    const windows = new MaintenanceWindows([], clock, log);
    this.silences = new Silences({ store, windows, labels: {}, clock, ids, log });
    const room = () => this.#beside.engine.room();
    this.later = new LaterRuns({
      waiting: (keys) => store.laterRuns(keys),
      end: (id, state) => store.endLater(id, state),
      record: (trigger, given, later) => this.#beside.recorder.recordStarting(trigger, given, { later }),
      refusal: () => null,
      room,
      clock,
      log,
    });
    this.schedules = new Schedules({
      agentId: AGENT_ID,
      remembered: (keep) => store.checkpointsOf(SCHEDULE_PREFIX, keep),
      record: (trigger, given, checkpoint) =>
        this.#beside.recorder.recordStarting(trigger, given, { checkpoint }),
      room,
      clock,
      watch: this.#watch,
      log,
    });
  }

  /** What the engine sees of them. */
  ports() {
    const { memory, parameters, later, brake } = this;
    return {
      brake,
      memory: {
        values: (namespace: string) => memory.snapshot.values(namespace),
        ready: (namespace: string) => (memory.snapshot.has(namespace) ? null : memory.watch(namespace)),
      },
      parameters,
      later: {
        hasRoom: (count: number) => later.hasRoom(count),
        added: (rows: LaterRun[]) => later.added(rows),
      },
    };
  }

  /** Before open runs are taken up. */
  async open(): Promise<void> {
    await this.memory.start();
    await this.secrets.start();
    await this.parameters.start();
    await this.brake.load();
    await this.silences.load();
  }

  /** After the rules know what they remember. */
  async begin(beside: Beside): Promise<void> {
    this.#beside = beside;
    await this.schedules.start(this.#options.definitions);
    await this.later.start();
    this.brake.start();
    const { life: clock, log } = this.#options;
    const record = (event: ProposedEvent) => beside.recorder.record(CLOCK_TRIGGER, [event], undefined);
    this.#unwatch = watchClock({ watch: this.#watch, record, clock, log });
  }

  /** As a worker sees the memory. */
  session(): MemorySession {
    const grant = { memory: ["*"], namespaces: [] };
    return new MemorySession(this.memory, { plugin: "work", namespace: "default", grant });
  }

  /** Nothing is due that has not been started. */
  isQuiet(): boolean {
    const { life } = this.#options;
    const now = (byWall: boolean) => (byWall ? life.wall() : life.trusted());
    const waits = ({ byWall, dueMs }: { byWall: boolean; dueMs: number | null }) =>
      dueMs === null || dueMs > now(byWall);
    return (
      this.schedules.entries().every((entry) => !entry.busy && waits(entry)) &&
      this.later.list().every(({ row }) => waits(row))
    );
  }

  async stop(): Promise<void> {
    this.#unwatch();
    await Promise.all([this.schedules.stop(), this.later.stop(), this.brake.stop(), this.silences.stop()]);
    this.memory.stop();
  }
}
