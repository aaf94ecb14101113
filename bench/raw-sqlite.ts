/** What bun:sqlite does with nothing around it, at synchronous=FULL: the baseline of what the agent's store keeps. */
import { Database } from "bun:sqlite";
import { closeSync, fdatasyncSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { withFolder } from "./frame.ts";

export const BATCH = 256;
/** The data of one event in every benchmark of the store. */
export const DATA = "x".repeat(200);

/** Rows a second, in transactions of 256. */
export async function rawBatches(within: string, rows: number): Promise<number> {
  return await withFolder(async (folder) => {
    const { database, insert } = openRaw(folder);
    const batch = database.transaction(() => {
      for (let i = 0; i < BATCH; i++) insert.run(DATA);
    });
    const begin = performance.now();
    for (let i = 0; i < rows; i += BATCH) batch();
    const rate = (rows / (performance.now() - begin)) * 1000;
    database.close();
    return rate;
  }, within);
}

/** Milliseconds of each of `count` transactions of one row, one a millisecond at most. */
export async function rawSingles(within: string, count: number): Promise<number[]> {
  return await withFolder(async (folder) => {
    const { database, insert } = openRaw(folder);
    const samples: number[] = [];
    for (let i = 0; i < count; i++) {
      const begin = performance.now();
      insert.run(DATA);
      samples.push(performance.now() - begin);
      await Bun.sleep(1);
    }
    database.close();
    return samples;
  }, within);
}

/** Blocks of a write-ahead log in use: written over again and again, so that its size does not change. */
const LOG_BLOCKS = 500;
const BLOCK = Buffer.alloc(8192, "x");

/** Milliseconds of each of `count` writes of 8 KB, about a small commit, with the fdatasync behind it. */
export async function fdatasyncs(within: string, count: number): Promise<number[]> {
  return await withFolder(async (folder) => {
    const fd = openSync(join(folder, "raw.log"), "w");
    for (let i = 0; i < LOG_BLOCKS; i++) writeSync(fd, BLOCK);
    fdatasyncSync(fd);
    const samples: number[] = [];
    for (let i = 0; i < count; i++) {
      const begin = performance.now();
      writeSync(fd, BLOCK, 0, BLOCK.length, (i % LOG_BLOCKS) * BLOCK.length);
      fdatasyncSync(fd);
      samples.push(performance.now() - begin);
      await Bun.sleep(1);
    }
    closeSync(fd);
    return samples;
  }, within);
}

function openRaw(folder: string) {
  const database = new Database(join(folder, "raw.db"));
  database.run("PRAGMA journal_mode = WAL");
  database.run("PRAGMA synchronous = FULL");
  database.run("CREATE TABLE t (n INTEGER PRIMARY KEY, body TEXT)");
  return { database, insert: database.prepare("INSERT INTO t (body) VALUES (?)") };
}
