import { Database } from "bun:sqlite";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RunEngine } from "../agent/runs/engine.ts";
import type { ActionPort } from "../agent/runs/ports.ts";
import { HoldfastError } from "../core/errors.ts";
import { systemIds } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import type { PipelineDefinition } from "../model/pipeline.ts";
import { hasEnded } from "../model/run.ts";
import type { AttemptOutcome } from "../model/run-transitions.ts";
import { pipeline, step, undo } from "./definitions.ts";
import { failed, ok, unknown } from "./engine-rig.ts";
import { type InProcessStore, openInProcessStore } from "./in-process-store.ts";
import { settled, VirtualClock } from "./virtual-clock.ts";

/** Nothing here is about the disk. */
const FAST = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const DAY_MS = 86_400_000;
/** More than everything in these pipelines may wait, one after the other. */
const LONG_MS = 30 * DAY_MS;
const BEGAN_MS = Date.UTC(2026, 11, 1);

const asked = { text: "Really?", approvers: ["*"], strict: false, timeoutMs: DAY_MS };
const sure = step("sure", { work: "approval", action: "approval", approval: asked });
const exclusive = { lock: "one", busy: "queue" as const };
const again = { attempts: 3, kind: "fixed" as const, initialMs: 60_000, maxMs: 60_000 };

/** Pipelines of which each comes to a stand in another way: see `act`. */
const PIPELINES: PipelineDefinition[] = [
  pipeline([step("before"), { ...sure, needs: ["before"] }, step("then", { needs: ["sure"] })], {
    name: "asks",
    exclusive,
    deadlineMs: 10 * DAY_MS,
  }),
  pipeline([step("sub", { work: "pipeline", action: "inner", effect: "idempotent" })], { name: "outer" }),
  pipeline([step("hangs", { effect: "idempotent", deadlineMs: DAY_MS })], { name: "inner" }),
  pipeline(
    [
      step("each", { foreach: { in: "[1, 2, 3, 4]", concurrency: 2 }, undo: undo("x") }),
      step("after", { needs: ["each"] }),
    ],
    { name: "list", finally: [step("close")], onFailure: [step("tell")] },
  ),
  pipeline([step("flaky", { retry: again }), step("next", { needs: ["flaky"] })], { name: "retries" }),
  pipeline([step("lost", { effect: "ask" })], { name: "doubts" }),
  pipeline([step("takes", { exclusive: { lock: "two", busy: "queue" } }), sure], { name: "holds" }),
  pipeline([step("free"), step("waits", { needs: ["free"], exclusive: { lock: "two", busy: "queue" } })], {
    name: "late",
  }),
  pipeline([step("adds", { effect: "idempotent" }), step("rest", { needs: ["adds"] })], { name: "grows" }),
  pipeline([step("good", { undo: undo("back") }), step("breaks", { needs: ["good"] })], { name: "undoes" }),
  pipeline([step("hangs", { effect: "idempotent" })], { name: "narrow", concurrency: 1 }),
];
const STARTED = ["asks", "asks", "asks", "outer", "list", "retries", "doubts", "holds", "late", "grows"];

const never = () => new Promise<AttemptOutcome>(() => {});

/** In the first life: what brings each run to a stand. */
const act: ActionPort["invoke"] = async (call) => {
  switch (call.action) {
    case "hangs":
    case "back":
      return await never();
    case "each":
      return call.step === "each[0]" ? ok() : await never();
    case "adds":
      await call.add([{ kind: "add", action: "more", pipeline: false, with: {} }]);
      await call.add([{ kind: "finally", action: "last", pipeline: false, with: {} }]);
      return await never();
    case "flaky":
      return failed(false);
    case "lost":
      return unknown();
    case "breaks":
      return failed(true, false);
    default:
      return ok();
  }
};

/** How a start on a changed store came out. `told`: the damage was noticed and the file set aside. */
export interface Outcome {
  told: boolean;
  /** Runs that have not ended, with their steps; empty is how it must be. */
  left: string[];
}

/** A store whose open runs stand in every way in which a run can; each trial changes a copy and sees it through. */
export class DamagedRuns {
  readonly #folder = mkdtempSync(join(FAST, "holdfast-damaged-runs-"));
  readonly path = join(this.#folder, "agent.db");
  #sound!: Buffer;
  #nowMs = BEGAN_MS;

  async make(): Promise<void> {
    const clock = new VirtualClock(BEGAN_MS);
    const store = await this.#open(clock);
    const engine = engineOn(store, clock, act);
    for (const name of [...STARTED, "undoes", "narrow", "narrow"])
      await engine.start({ pipeline: name, params: {}, by: "local:0" });
    await settled();
    await clock.advance(1000);
    await settled();
    this.#nowMs = clock.wall();
    store.crash();
    // As after a graceful stop: the log is in the file.
    const database = new Database(this.path);
    database.run("PRAGMA wal_checkpoint(TRUNCATE)");
    database.close();
    this.#sound = readFileSync(this.path);
  }

  end(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get sound(): Buffer {
    return this.#sound;
  }

  read<Row>(sql: string): Row[] {
    writeFileSync(this.path, this.#sound);
    const database = new Database(this.path, { readonly: true });
    const rows = database.query(sql).all() as Row[];
    database.close();
    return rows;
  }

  /** Changes rows behind everybody's back. */
  change(sql: string, ...values: (string | number | bigint | null)[]): Promise<Outcome> {
    return this.#tried(() => {
      writeFileSync(this.path, this.#sound);
      const database = new Database(this.path);
      database.query(sql).run(...values);
      database.run("PRAGMA wal_checkpoint(TRUNCATE)");
      database.close();
    });
  }

  /** Starts with these bytes as the store. */
  startOn(bytes: Buffer): Promise<Outcome> {
    return this.#tried(() => writeFileSync(this.path, bytes));
  }

  async #tried(put: () => void): Promise<Outcome> {
    this.#clear();
    put();
    for (let told = false; ; told = true) {
      const clock = new VirtualClock(this.#nowMs + 1000);
      const store = await this.#open(clock);
      const engine = engineOn(store, clock, async () => ok());
      try {
        await engine.recover();
        const left = await seenThrough(engine, store, clock);
        return { told: told || store.facts.salvage !== null, left };
      } catch (error) {
        // The next start sets the file aside.
        if (told || !(error instanceof HoldfastError) || error.code !== "corrupt") throw error;
      } finally {
        await engine.stop(0);
        await store.close();
      }
    }
  }

  async #open(clock: VirtualClock): Promise<InProcessStore> {
    const wall = () => clock.wall();
    const time = { trusted: () => clock.trusted(), mono: () => clock.mono() };
    return await openInProcessStore({ path: this.path, ids: systemIds(), wall, time });
  }

  #clear(): void {
    for (const name of new Bun.Glob("agent.db*").scanSync({ cwd: this.#folder }))
      rmSync(join(this.#folder, name), { force: true });
  }
}

function engineOn(store: InProcessStore, clock: VirtualClock, invoke: ActionPort["invoke"]): RunEngine {
  return new RunEngine({
    actions: { invoke },
    pipelines: new Map(PIPELINES.map((each) => [each.name, each])),
    agent: { id: "web-01", labels: {} },
    effectOf: () => "at-most-once",
    uidOf: () => undefined,
    ...{ store, clock, ids: systemIds(), log: silentLogger() },
    ...{ maxSteps: 64, maxOutputBytes: 1000, maxOpenRuns: 1000, maxSideEffects: 1000 },
  });
}

/** Says yes to whatever is asked and lets time run until every run has ended, or none will any more. */
async function seenThrough(engine: RunEngine, store: InProcessStore, clock: VirtualClock): Promise<string[]> {
  const until = clock.mono() + LONG_MS;
  for (;;) {
    await settled();
    const all = await store.runs({ limit: 100 });
    const going = all.filter(({ run }) => !hasEnded(run.state));
    if (going.length === 0 && engine.openRuns === 0) return [];
    if ((await answered(engine)) > 0 || (clock.mono() < until && clock.runNext())) continue;
    if (going.length === 0) return [`${engine.openRuns} that the store has ended`];
    return going.map(({ run }) => `${run.pipeline} ${run.state}: ${run.reason ?? ""}`);
  }
}

/** Says yes wherever it may be said; gives how often. A row may also say that nobody may answer. */
async function answered(engine: RunEngine): Promise<number> {
  let count = 0;
  for (const { run, step: stepId } of engine.asking()) {
    try {
      await engine.decide(run, stepId, { approve: true, by: "local:0", uid: 0, note: "" });
      count++;
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== "denied") throw error;
    }
  }
  return count;
}
