import type { Ids } from "../../core/ids.ts";
import { type HashedText, hashedText } from "../../model/attempt-facts.ts";
import type { Logger } from "../../core/logger.ts";
import type { Fault } from "../../storage/faults.ts";
import { EventRecorder } from "../../agent/events/recorder.ts";
import type { EventStorePort } from "../../agent/events/ports.ts";
import { RuleSet } from "../../agent/rules/rule-set.ts";
import { RunEngine } from "../../agent/runs/engine.ts";
import type { ActionPort } from "../../agent/runs/ports.ts";
import { type InProcessStore, openInProcessStore } from "../in-process-store.ts";
import type { Seeded } from "../seeded.ts";
import type { EventLedger } from "./event-ledger.ts";
import type { Setting } from "./grammar.ts";
import { type HubLine, HubSessions } from "./hub-session.ts";
import type { Incarnation } from "./incarnation.ts";
import { AGENT_ID } from "./names.ts";
import { type LineSource, SimulatedTrigger } from "./simulated-trigger.ts";
import { SharedRooms } from "./shared-rooms.ts";
import { type Destinations, SimulatedOutputs } from "./simulated-outputs.ts";
import { SlowDisk } from "./slow-disk.ts";

export interface AgentOptions {
  path: string;
  life: Incarnation;
  setting: Setting;
  /** With the rules that may be gone after a restart. */
  allRules: boolean;
  ids: Ids;
  random: Seeded;
  faults: Fault[];
  actions: ActionPort;
  line: HubLine;
  sources: LineSource[];
  ledger: EventLedger;
  say: (line: string) => void;
  /** Something went wrong inside that must not. */
  broken: (what: string) => void;
  /** What is shared can be read. */
  opened: (shared: SharedRooms) => Promise<void>;
  look: () => void;
  destinations: Destinations;
  onFault: (fault: Fault) => void;
  onCrash: () => void;
  /** An event goes to the store, looked at by the rules at this trusted time. */
  sent: (source: string, id: string, atMs: number) => void;
}

const SET_BACK_MS = 3_600_000;
const MAX_EVENT_BYTES = 10_000;

/** What runs of this life go back to: another one where rules have come or gone. */
function originOf({ allRules }: AgentOptions): HashedText {
  return hashedText({ config: `allRules: ${allRules}`, triggers: {}, rules: {} });
}

/**
 * One life of the agent: the real rooms, wired as the composition root wires them, over the real store in this process.
 * Only the workers, the triggers and the hub are simulated.
 */
export class SimulatedAgent {
  readonly triggers: SimulatedTrigger[] = [];
  stopping = false;
  readonly #options: AgentOptions;

  private constructor(
    options: AgentOptions,
    readonly store: InProcessStore,
    readonly disk: SlowDisk,
    readonly engine: RunEngine,
    readonly recorder: EventRecorder,
    readonly rules: RuleSet,
    readonly hub: HubSessions,
    readonly shared: SharedRooms,
    readonly outputs: SimulatedOutputs,
  ) {
    this.#options = options;
  }

  /** Opens the store and takes up what was left; rejects when a fault strikes meanwhile. */
  static async start(options: AgentOptions): Promise<SimulatedAgent> {
    const { life, setting, ids, line, random, say } = options;
    const disk = new SlowDisk(life, options.look);
    const store = await openInProcessStore({
      path: options.path,
      ids,
      wall: () => life.wall(),
      // Now and then it was too far ahead, and is set right for a moment.
      time: {
        mono: () => life.mono(),
        trusted: () => life.trusted() - (random.chance(0.2) ? SET_BACK_MS : 0),
      },
      after: (ms, callback) => life.after(ms, callback),
      retention: setting.retention,
      faults: options.faults,
      schedule: disk.schedule,
      onCrash: options.onCrash,
      onFault: options.onFault,
    });
    const log = watchingLogger(options);
    const shared = new SharedRooms({ life, store, ids, log, definitions: setting.schedules });
    const engine = new RunEngine({
      ...shared.ports(),
      config: originOf(options).hash,
      store,
      actions: options.actions,
      pipelines: setting.pipelines,
      agent: { id: AGENT_ID, labels: {} },
      effectOf: (action) => (action === "work" ? "at-most-once" : undefined),
      uidOf: () => undefined,
      clock: life,
      ids,
      log,
      maxSteps: setting.maxSteps,
      maxOutputBytes: 10_000,
      maxOpenRuns: setting.maxOpenRuns,
      maxSideEffects: setting.maxSideEffects,
    });
    const rules = new RuleSet(
      setting.rules.filter(({ passing }) => options.allRules || !passing).map(({ definition }) => definition),
      { agent: { id: AGENT_ID, labels: {} }, newId: () => ids.next(), maxEventBytes: MAX_EVENT_BYTES },
    );
    const recorder = new EventRecorder({
      agentId: AGENT_ID,
      store: observed(store, options),
      rules,
      runs: engine,
      clock: life,
      ids,
      log,
      maxEventBytes: MAX_EVENT_BYTES,
    });
    const hub = new HubSessions({
      ...{ life, store, line, random, say },
      sentAhead: setting.retention.outbox?.ahead,
    });
    const outputs = new SimulatedOutputs({ ...options.destinations, life, store, recorder, ids, log });
    return new SimulatedAgent(options, store, disk, engine, recorder, rules, hub, shared, outputs);
  }

  /** In the order of the composition root: open runs, rules, then what brings new events. */
  async begin(): Promise<void> {
    const { sources, ledger, random, life, setting } = this.#options;
    const { engine, recorder, store } = this;
    await this.shared.open();
    await this.#options.opened(this.shared);
    await store.keepTexts([originOf(this.#options)]);
    await engine.recover();
    await recorder.start();
    this.outputs.start();
    await this.shared.begin(this);
    void this.hub.run();
    for (const source of sources) {
      const position = ((await store.checkpoint(source.name)) as number | undefined) ?? 0;
      this.triggers.push(
        new SimulatedTrigger({
          source,
          position,
          repeats: setting.retention.events === undefined,
          ledger,
          random,
          record: (trigger, proposed, checkpoint, turn) =>
            recorder.record(trigger, proposed, checkpoint, turn),
          checkpoint: (trigger) => store.checkpoint(trigger),
          dead: () => life.dead,
        }),
      );
    }
  }

  async stop(graceMs: number): Promise<void> {
    this.stopping = true;
    await this.shared.stop();
    await this.recorder.stop();
    await this.engine.stop(graceMs);
    await this.outputs.stop();
    this.hub.stop();
    await this.store.close();
  }
}

/** What rules make of events is kept only if everything that it was computed from is. */
function observed(store: InProcessStore, { sent, life, broken }: AgentOptions): EventStorePort {
  let built: number | undefined;
  const isKept = (version: number | undefined) => {
    if (version === undefined) return;
    if (built !== undefined && version !== built + 1)
      broken(`a commit of rules that builds on ${version} others is kept after one that builds on ${built}`);
    built = version;
  };
  return {
    commitEvents: (commit) => {
      for (const { source, id } of commit.events) sent(source, id, life.trusted());
      const commits = store.commitEvents(commit);
      commits.then(
        () => isKept(commit.rules?.version),
        () => {},
      );
      return commits;
    },
    knownEvents: (source, ids) => store.knownEvents(source, ids),
    ruleMemory: (keep) => store.ruleMemory(keep),
  };
}

/** Says nothing, but listens for what the rooms report as impossible. */
function watchingLogger({ broken, life }: AgentOptions): Logger {
  const logger: Logger = {
    debug() {},
    info() {},
    warn(message, fields) {
      // Nobody but this agent changes its runs.
      if (!life.dead && message.includes("came too late")) broken(`${message}: ${JSON.stringify(fields)}`);
    },
    error(message, fields) {
      if (!life.dead && message.includes("could not go on")) broken(`${message}: ${JSON.stringify(fields)}`);
    },
    child: () => logger,
  };
  return logger;
}
