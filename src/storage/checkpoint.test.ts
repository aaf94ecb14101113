import { afterEach, beforeEach, expect, test } from "bun:test";
import type { Database } from "bun:sqlite";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHECKPOINT_PAGES, openDatabase } from "./open-database.ts";
import { packBatch } from "./storage-frames.ts";
import { serveStorage, type StorageProgram, type ThreadPort } from "./storage-thread.ts";

const PAGES_A_WRITE = 100;

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "holdfast-checkpoint-"))));
afterEach(() => rmSync(folder, { recursive: true }));

function programOver(database: Database): StorageProgram {
  database.run("CREATE TABLE t (n INTEGER PRIMARY KEY, body BLOB)");
  const insert = database.prepare("INSERT INTO t (body) VALUES (zeroblob(?))");
  return {
    database,
    name: "test",
    facts: null,
    writes: { write: () => void insert.run(PAGES_A_WRITE * 4096) },
    reads: {},
    labels: () => [],
    flush() {},
    reload() {},
    signal: () => null,
    damaged() {},
    close() {
      insert.finalize();
      database.close(true);
    },
  };
}

test("a long log goes into the file after the answer to the commit that made it long", () => {
  const database = openDatabase(join(folder, "t.db"));
  const log = () =>
    database.query("PRAGMA wal_checkpoint(NOOP)").get() as { log: number; checkpointed: number };
  const waiting = () => log().log - log().checkpointed;
  let atAnswer = 0;
  const port: ThreadPort = {
    onmessage: null,
    postMessage: (message) => void (message.kind === "committed" && (atAnswer = waiting())),
  };
  serveStorage(port, () => programOver(database));
  port.onmessage!({ data: { kind: "open", options: null, faults: [] } });
  const write = () => port.onmessage!({ data: packBatch([{ operation: "write", args: "null", text: "" }]) });
  for (let round = 0; round < 3; round++) {
    do {
      write();
      expect(waiting()).toBe(atAnswer < CHECKPOINT_PAGES ? atAnswer : 0);
    } while (waiting() > 0);
    expect(atAnswer).toBeGreaterThanOrEqual(CHECKPOINT_PAGES);
    expect(atAnswer).toBeLessThan(CHECKPOINT_PAGES + 2 * PAGES_A_WRITE);
    // It begins again from the front.
    write();
    expect(log().log).toBeLessThan(2 * PAGES_A_WRITE);
  }
  port.onmessage!({ data: { kind: "close" } });
});
