/** Each write of giving up rows fails once or dies once, before and after: no row is lost that is not told, none told that is there. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemIds } from "../../core/ids.ts";
import { LANES, RECORD_CLASSES, type RecordBatch } from "../../model/record.ts";
import { chainHashes, sameHash } from "../../protocol/chain.ts";
import { parseLoss } from "../../protocol/loss.ts";
import type { Fault } from "../../storage/faults.ts";
import { type InProcessStore, openInProcessStore } from "../../testing/in-process-store.ts";
import { commitOf, numbered } from "./store-fixtures.ts";

setDefaultTimeout(120_000);

const MEMORY = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const ROWS = 60;
const CAP = { rows: 30, bytes: Number.MAX_SAFE_INTEGER, ahead: 4, least: 5 };
const LABELS = [
  ...["outbox.evict", "outbox.loss", "outbox.take-in", "outbox.renumber-loss", "outbox.renumber"],
  ...["streams.head", "meta.put", "trim", "renewEpoch", "commit"],
];

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(MEMORY, "holdfast-evictions-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** One store over its lives: it is opened again when it dies, be it by what goes on behind an act. */
class Lives {
  store!: InProcessStore;
  struck = 0;
  readonly #path: string;
  #faults: Fault[];
  #crashed = () => {};

  constructor(path: string, faults: Fault[]) {
    this.#path = path;
    this.#faults = faults;
  }

  async open(): Promise<void> {
    const faults = this.#faults;
    this.#faults = [];
    const options = {
      path: this.#path,
      ids: systemIds(),
      wall: () => 1,
      retention: { outbox: CAP },
      faults,
      onCrash: () => this.#crashed(),
      onFault: () => void this.struck++,
    };
    this.store = await openInProcessStore(options).catch(async () => {
      await this.open();
      return this.store;
    });
  }

  /** Until it is done: what failed or died is done once more, unless it was done. */
  async until(done: () => Promise<boolean>, act: () => Promise<unknown>): Promise<void> {
    for (let tries = 0; ; tries++) {
      if (tries > 8) throw new Error("it fails again and again");
      const end = await this.#alive(async () => {
        if (await done()) return "done";
        await act().catch(() => {});
        return "tried";
      });
      if (end === "done") return;
      if (end === "died") await this.open();
    }
  }

  async #alive<T>(work: () => Promise<T>): Promise<T | "died"> {
    if (this.store.crashed) return "died";
    const death = new Promise<"died">((resolve) => (this.#crashed = () => resolve("died")));
    return await Promise.race([death, work()]);
  }
}

/** What is there and what is told as lost, over a chain that joins. */
async function tally(store: InProcessStore): Promise<{ rows: number; lost: number }> {
  let first = 1;
  let previous: Uint8Array = new Uint8Array(32);
  const all: RecordBatch["records"] = [];
  for (;;) {
    const batch = await store.readBatch(LANES.events, 1, first, 7, 1e6);
    if (!batch) break;
    const hash = chainHashes(batch.prevHash, batch.records).at(-1)!;
    if (!sameHash(batch.prevHash, previous) || !sameHash(hash, batch.lastHash)) throw new Error("no chain");
    previous = hash;
    all.push(...batch.records);
    first = all.at(-1)!.number + 1;
  }
  const losses = all.filter((record) => record.class === RECORD_CLASSES.loss);
  const lost = losses.map(({ body }) => parseLoss(body)).reduce((sum, { counts }) => sum + counts[1]!, 0);
  return { rows: all.length - losses.length, lost };
}

async function workload(path: string, faults: Fault[]) {
  const lives = new Lives(path, faults);
  await lives.open();
  const waiting = async () => (await lives.store.streams())[0]?.rows ?? 0;
  for (let part = 1; part <= 3; part++) {
    const upTo = (part * ROWS) / 3;
    await lives.until(
      async () => (await lives.store.lastEvent()) >= upTo,
      () => lives.store.commitEvents(commitOf(numbered("e", upTo).slice(upTo - ROWS / 3))),
    );
  }
  await lives.until(
    async () => (await waiting()) <= CAP.rows,
    () => lives.store.trim(),
  );
  const epoch = lives.store.facts.epoch;
  await lives.until(
    async () => lives.store.facts.epoch !== epoch,
    () => lives.store.renewEpoch("forked", []),
  );
  await lives.until(
    async () => (await waiting()) > 0,
    async () => {},
  );
  const seen = await tally(lives.store);
  const stats = await lives.store.stats();
  expect(stats.unacknowledged.events).toBe(await waiting());
  await lives.store.close();
  return { seen, counted: stats.outbox.lost.event!.cap!, struck: lives.struck };
}

test("each of them, in each way", async () => {
  let number = 0;
  const missed: string[] = [];
  const run = (faults: Fault[]) => workload(join(folder, `${number++}.db`), faults);
  for (const label of LABELS) {
    for (const at of ["before", "after"] as const) {
      for (const kind of ["crash", "SQLITE_IOERR_WRITE", "SQLITE_CONSTRAINT"]) {
        // An error after the commit is none that a disk can give: what is committed is committed.
        if (label === "commit" && kind !== "crash") continue;
        for (const skip of label === "commit" ? [2, 3, 4, 5] : [0, 1]) {
          const { seen, counted, struck } = await run([{ label, at, with: kind, skip }]);
          const what = `${kind} ${at} ${label}, ${skip} later`;
          if (struck !== 1 && skip === 0) missed.push(what);
          expect([what, seen.rows + seen.lost]).toEqual([what, ROWS]);
          expect([what, seen.lost]).toEqual([what, counted]);
          expect(seen.lost).toBeGreaterThan(20);
        }
      }
    }
  }
  expect(missed).toEqual([]);
});
