import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventRecorder } from "../agent/events/recorder.ts";
import { RuleSet } from "../agent/rules/rule-set.ts";
import type { Ids } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import { type NewRun, newRun } from "../model/run-build.ts";
import type { RuleDefinition } from "../model/rule.ts";
import type { RunRow } from "../model/run.ts";
import { pipeline, step } from "./definitions.ts";
import { type InProcessStore, openInProcessStore } from "./in-process-store.ts";
import { AGENT } from "./rule-rig.ts";
import { VirtualClock } from "./virtual-clock.ts";

/** The recorder with real rules over the real store in this process, on a clock that stands still. */
export class RecorderRig {
  readonly clock = new VirtualClock();
  readonly folder = mkdtempSync(join(tmpdir(), "holdfast-recorder-"));
  readonly admitted: RunRow[] = [];
  /** Runs that were about to be committed, and neither handed on nor dropped by now. */
  readonly leased = new Set<string>();
  /** Runs that were not committed. */
  readonly dropped: string[] = [];
  /** Pipelines that there are. */
  readonly pipelines = new Set(["p"]);
  store!: InProcessStore;
  rules!: RuleSet;
  recorder!: EventRecorder;
  /** Replaced to hold triggers back. */
  room: () => Promise<void> = async () => {};
  #ids = 0;

  readonly ids: Ids = {
    next: () => `id-${String(this.#ids++).padStart(6, "0")}`,
    random: () => 0.5,
    hex: (bytes) => (this.#ids++).toString(16).padStart(bytes * 2, "0"),
  };

  /** Opens the store, or opens it again after `close`, with these rules. */
  async open(definitions: RuleDefinition[]): Promise<void> {
    const { clock, ids, folder } = this;
    this.store = await openInProcessStore({
      path: join(folder, "agent.db"),
      ids,
      wall: () => clock.wall(),
      onCrash: () => {},
    });
    const newId = () => ids.next();
    this.rules = new RuleSet(definitions, { agent: AGENT, newId, maxEventBytes: 1000 });
    this.recorder = new EventRecorder({
      agentId: AGENT.id,
      store: this.store,
      rules: this.rules,
      runs: {
        room: () => this.room(),
        build: ({ pipeline: name, starter, event, params }) => {
          if (!this.pipelines.has(name)) throw new Error(`there is no pipeline ${name}`);
          const { source, id } = event;
          return newRun({
            id: ids.next(),
            definition: pipeline([step("a")], { name }),
            definitionHash: "h",
            rule: starter.by,
            starter,
            event: { source, id },
            params,
            createdMs: clock.wall(),
          });
        },
        lease: (made) => {
          this.leased.add(made.run.id);
          return made;
        },
        admit: (runs) => void this.admitted.push(...this.#settle(runs)),
        drop: (runs) => void this.dropped.push(...this.#settle(runs).map(({ id }) => id)),
      },
      clock,
      ids,
      log: silentLogger(),
      maxEventBytes: 1000,
    });
    await this.recorder.start();
  }

  /** Each run is handed on or dropped, and that once. */
  #settle(runs: NewRun[]): RunRow[] {
    for (const { run } of runs) {
      if (!this.leased.delete(run.id))
        throw new Error(`nobody had leased run ${run.id}, or it was settled before`);
    }
    return runs.map(({ run }) => run);
  }

  async close(): Promise<void> {
    await this.recorder.stop();
    await this.store.close();
  }

  async remove(): Promise<void> {
    await this.close();
    rmSync(this.folder, { recursive: true });
  }

  async events(): Promise<{ id: string; type: string; source: string; subject?: string }[]> {
    const rows = await this.store.eventsAfter(0, 10_000);
    return rows.map(({ body }) => JSON.parse(body));
  }

  /** All runs in the store, the oldest first. */
  async runs(): Promise<RunRow[]> {
    return (await this.store.runs({ limit: 10_000 })).map(({ run }) => run).toReversed();
  }
}
