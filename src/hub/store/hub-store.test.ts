import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { LANES, RECORD_CLASSES, ZERO_HASH } from "../../model/record.ts";
import { openHubStore, type SqlHubStore } from "./hub-store.ts";
import { SCHEMA_VERSION } from "./migrate.ts";
import { eventBody, events, joined, runBody, StreamBuilder } from "./test-batches.ts";

const RUN = "01999999-0000-7000-8000-00000000abcd";
const { run: runClass } = RECORD_CLASSES;
let folder: string;
let file: string;
let store: SqlHubStore;
const open = () => openHubStore({ file, clock: systemClock(), ids: systemIds() });
const count = (table: string) => {
  const database = new Database(file, { readonly: true });
  const row = database.query(`SELECT COUNT(*) AS c FROM ${table}`).get() as { c: number };
  database.close();
  return row.c;
};
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hub-store-"));
  file = join(folder, "hub.db");
  store = await open();
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

describe("ingest", () => {
  test("keeps rows in order and moves the cursor", async () => {
    const stream = new StreamBuilder();
    const [one, two] = [stream.next(events("a", 3)), stream.next(events("b", 2))];
    expect(await store.ingest("web-01", one, 5)).toMatchObject({
      kind: "ack",
      added: 3,
      cursor: { number: 3 },
    });
    const ack = await store.ingest("web-01", two, 6);
    expect(ack).toMatchObject({
      kind: "ack",
      added: 2,
      unreadable: 0,
      cursor: { number: 5, hash: two.lastHash },
    });
    const list = await store.events({ limit: 10 });
    expect(list.map((event) => event.id)).toEqual(["b-1", "b-0", "a-2", "a-1", "a-0"]);
    expect(list[0]).toMatchObject({
      agent: "web-01",
      type: "probe.down",
      severity: "warning",
      receivedMs: 6,
    });
    expect(list[0]!.event).toEqual(eventBody("b-1"));
  });

  test("a true duplicate changes nothing", async () => {
    const stream = new StreamBuilder();
    const [one, two] = [stream.next(events("a", 3)), stream.next(events("b", 2))];
    for (const batch of [one, two, one, two]) await store.ingest("web-01", batch, 5);
    expect(await store.ingest("web-01", joined(one, two), 9)).toMatchObject({
      kind: "ack",
      added: 0,
      cursor: { number: 5, hash: two.lastHash },
    });
    expect([count("records"), count("events"), count("forks")]).toEqual([5, 5, 0]);
    expect((await store.events({ limit: 1 }))[0]!.receivedMs).toBe(5);
  });

  test("a batch that begins below the cursor and ends above it adds only what is new", async () => {
    const stream = new StreamBuilder();
    const [one, two, three] = [events("a", 3), events("b", 2), events("c", 2)].map((rows) =>
      stream.next(rows),
    );
    await store.ingest("web-01", joined(one!, two!), 5);
    const ack = await store.ingest("web-01", joined(two!, three!), 5);
    expect(ack).toMatchObject({ kind: "ack", added: 2, cursor: { number: 7, hash: three!.lastHash } });
    expect(count("records")).toBe(7);
  });

  test("a gap names the cursor and keeps nothing", async () => {
    const stream = new StreamBuilder();
    const [one, two, three] = [events("a", 3), events("b", 2), events("c", 2)].map((rows) =>
      stream.next(rows),
    );
    expect(await store.ingest("web-01", two!, 5)).toMatchObject({
      kind: "gap",
      cursor: { number: 0, hash: ZERO_HASH },
    });
    await store.ingest("web-01", one!, 5);
    expect(await store.ingest("web-01", three!, 5)).toMatchObject({
      kind: "gap",
      cursor: { number: 3, hash: one!.lastHash },
    });
    expect(count("records")).toBe(3);
    expect(await store.agentStreams("web-01")).toHaveLength(1);
  });

  test("a damaged batch is refused whole", async () => {
    const batch = new StreamBuilder().next(events("a", 3));
    batch.records[1]!.body = Buffer.from("{}");
    await expect(store.ingest("web-01", batch, 5)).rejects.toMatchObject({ code: "invalid" });
    const beginning = new StreamBuilder("e1", LANES.events, 1, 0, new Uint8Array(32).fill(1));
    await expect(store.ingest("web-01", beginning.next(events("a", 1)), 5)).rejects.toMatchObject({
      code: "invalid",
    });
    expect(count("records")).toBe(0);
  });

  test.each([
    ["at the end", 2, 2, 3],
    ["in the middle", 2, 4, 3],
    ["beside the cursor's own row", 4, 2, 5],
  ])("a fork %s keeps both and overwrites nothing", async (_name, shared, more, at) => {
    const stream = new StreamBuilder();
    const base = stream.next(events("base", shared));
    const other = stream.copy();
    await store.ingest("web-01", base, 5);
    const ours = stream.next(events("ours", more));
    await store.ingest("web-01", ours, 5);
    const before = (await store.events({ limit: 10 })).map((event) => event.id);
    const theirs = other.next(events("theirs", 6));
    const result = await store.ingest("web-01", theirs, 6);
    expect(result).toMatchObject({ kind: "fork", cursor: { number: shared + more, hash: ours.lastHash } });
    expect((await store.events({ limit: 10 })).map((event) => event.id)).toEqual(before);
    expect(result.kind === "fork" && result.message).toContain(
      `Row ${at} of stream (epoch e1, lane 2, segment 1)`,
    );
    expect(count("forks")).toBe(6);
    expect((await store.ingest("web-01", theirs, 7)).kind).toBe("fork");
    expect(await store.agentStreams("web-01")).toMatchObject([{ number: shared + more, forked: 6 }]);
    // Our side goes on.
    expect((await store.ingest("web-01", stream.next(events("on", 1)), 8)).kind).toBe("ack");
  });

  test("rows that follow another history are a fork too", async () => {
    const stream = new StreamBuilder();
    await store.ingest("web-01", stream.next(events("a", 2)), 5);
    const stranger = new StreamBuilder("e1", LANES.events, 1, 2, new Uint8Array(32).fill(9));
    expect(await store.ingest("web-01", stranger.next(events("x", 2)), 5)).toMatchObject({ kind: "fork" });
    expect(count("forks")).toBe(2);
  });

  test("only the rows that differ are set aside", async () => {
    const stream = new StreamBuilder();
    const base = stream.next(events("base", 2));
    const other = stream.copy();
    await store.ingest("web-01", joined(base, stream.next(events("ours", 2))), 5);
    await store.ingest("web-01", joined(base, other.next(events("theirs", 2))), 5);
    expect(count("forks")).toBe(2);
  });

  test("epochs, lanes, segments and agents are streams of their own", async () => {
    const first = new StreamBuilder("e1");
    const one = first.next(events("a", 2));
    const second = new StreamBuilder("e1", LANES.events, 2, 0, one.lastHash).next(events("b", 1));
    const renewed = new StreamBuilder("e2").next(events("c", 1));
    const results = new StreamBuilder("e1", LANES.results).next([
      { class: runClass, body: runBody(RUN, "queued") },
    ]);
    for (const batch of [one, second, renewed, results]) {
      expect((await store.ingest("web-01", batch, 5)).kind).toBe("ack");
    }
    expect((await store.ingest("db-01", new StreamBuilder("e1").next(events("a", 2)), 5)).kind).toBe("ack");
    const streams = await store.agentStreams("web-01");
    expect(streams.map((s) => [s.epoch, s.lane, s.segment, s.number])).toEqual([
      ["e1", 2, 1, 2],
      ["e1", 2, 2, 1],
      ["e2", 2, 1, 1],
      ["e1", 1, 1, 1],
    ]);
    expect(await store.counts()).toEqual({ agents: 0, events: 6, runs: 1, records: 7 });
  });

  test("an event that a new epoch tells again is one event", async () => {
    await store.ingest("web-01", new StreamBuilder("e1").next(events("a", 2)), 5);
    await store.ingest("web-01", new StreamBuilder("e2").next(events("a", 3)), 6);
    expect([count("records"), count("events")]).toEqual([5, 3]);
  });

  test("bodies that cannot be read and unknown classes are kept and block nothing", async () => {
    const batch = new StreamBuilder().next([
      { body: "{not json" },
      { body: { id: 5 } },
      { body: eventBody("nul\0") },
      { class: 200, body: "anything" },
      { class: runClass, body: "[]" },
      { body: eventBody("good") },
    ]);
    expect(await store.ingest("web-01", batch, 5)).toMatchObject({ kind: "ack", added: 6, unreadable: 4 });
    expect([count("records"), count("events"), count("runs")]).toEqual([6, 1, 0]);
  });

  test("takes 5,000 rows of several agents at once, and tells listeners", async () => {
    let told = 0;
    store.onChange(() => told++);
    const work = Array.from({ length: 10 }, (_, agent) => {
      const stream = new StreamBuilder();
      const batches = Array.from({ length: 5 }, (_, n) => stream.next(events(`${n}`, 100)));
      return batches.map((batch) => store.ingest(`agent-${agent}`, batch, 5));
    });
    const results = await Promise.all(work.flat());
    expect(new Set(results.map((result) => result.kind))).toEqual(new Set(["ack"]));
    expect(await store.counts()).toMatchObject({ events: 5000, records: 5000 });
    expect(await store.heads()).toEqual({ event: 5000, run: 0 });
    expect(told).toBe(50);
    // They shared commits.
    expect(store.writer().commitSeconds.count).toBeLessThan(10);
  });

  test("a bad batch does not harm those it shares a commit with", async () => {
    const good = new StreamBuilder();
    const bad = new StreamBuilder("e1", LANES.events, 1, 0, new Uint8Array(32).fill(1));
    const outcomes = await Promise.allSettled([
      store.ingest("a", good.next(events("a", 2)), 5),
      store.ingest("b", bad.next(events("b", 2)), 5),
      store.ingest("c", new StreamBuilder().next(events("c", 2)), 5),
    ]);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(count("records")).toBe(4);
  });
});

describe("enrollment and tokens", () => {
  const agent = {
    id: "web-01",
    publicKey: "k1",
    certificateSerial: "s1",
    certificateExpiresMs: 99,
    labels: { role: "web" },
  };
  const ask = (tokenHash: string, nowMs: number, extra: Partial<typeof agent> = {}) =>
    store.enroll({ tokenHash, nowMs, agent: { ...agent, ...extra } });

  test("a token is used up, expires, and never takes an id over", async () => {
    await store.addJoinToken({ hash: "t1", expiresMs: 100, uses: 1, createdMs: 0 });
    await store.addJoinToken({ hash: "t2", expiresMs: 100, uses: 5, createdMs: 0 });
    expect(await ask("nope", 1)).toBe("unknown");
    expect(await ask("t1", 100)).toBe("expired");
    expect(await ask("t1", 1)).toBe("ok");
    expect(await ask("t1", 2, { id: "db-01", publicKey: "k2" })).toBe("used");
    expect(await ask("t2", 2, { publicKey: "k2" })).toBe("taken");
    expect(await ask("nope", 2, { publicKey: "k2" })).toBe("unknown");
    expect(await store.agent("web-01")).toMatchObject({
      publicKey: "k1",
      enrolledMs: 1,
      labels: { role: "web" },
    });
  });

  test("the same key may ask again after a lost answer", async () => {
    await store.addJoinToken({ hash: "t1", expiresMs: 100, uses: 1, createdMs: 0 });
    expect(await ask("t1", 1)).toBe("ok");
    expect(await ask("t1", 200, { certificateSerial: "s2" })).toBe("ok");
    expect(await store.agent("web-01")).toMatchObject({ certificateSerial: "s2", enrolledMs: 1 });
  });

  test("two that race for the last use: one gets it", async () => {
    await store.addJoinToken({ hash: "t1", expiresMs: 100, uses: 1, createdMs: 0 });
    const both = await Promise.all([ask("t1", 1), ask("t1", 1, { id: "db-01", publicKey: "k2" })]);
    expect(both).toEqual(["ok", "used"]);
  });

  test("hello and heartbeat are remembered; hello gives the cursors of its epoch", async () => {
    await store.addJoinToken({ hash: "t1", expiresMs: 100, uses: 1, createdMs: 0 });
    await expect(store.hello("web-01", "e1", {}, {}, 1, 0)).rejects.toMatchObject({
      code: "unauthenticated",
    });
    await ask("t1", 1);
    const batch = new StreamBuilder("e1").next(events("a", 2));
    await store.ingest("web-01", batch, 5);
    await store.ingest("web-01", new StreamBuilder("e0").next(events("z", 2)), 5);
    const cursors = await store.hello("web-01", "e1", { role: "db" }, { hostname: "h" }, 7, -3);
    expect(cursors).toEqual([{ epoch: "e1", lane: 2, segment: 1, number: 2, hash: cursors[0]!.hash }]);
    expect(hex(cursors[0]!.hash)).toBe(hex(batch.lastHash));
    await store.heartbeat("web-01", { checks: [] }, 8, -4);
    expect(await store.agents()).toMatchObject([
      {
        epoch: "e1",
        labels: { role: "db" },
        facts: { hostname: "h" },
        lastHelloMs: 7,
        lastHeartbeatMs: 8,
        clockOffsetMs: -4,
        status: { checks: [] },
      },
    ]);
  });

  test("API tokens are found by hash", async () => {
    await store.addApiToken({ hash: "h", name: "admin", role: "admin", createdMs: 1 });
    expect(await store.apiToken("h")).toEqual({ name: "admin", role: "admin" });
    expect(await store.apiToken("g")).toBeNull();
  });
});

describe("the file", () => {
  test("keeps everything over a restart, with the same hub id and epoch", async () => {
    const stream = new StreamBuilder();
    await store.ingest("web-01", stream.next(events("a", 2)), 5);
    const results = new StreamBuilder("e1", LANES.results);
    await store.ingest("web-01", results.next([{ class: runClass, body: runBody(RUN, "queued") }]), 5);
    const { hubId, epoch } = store;
    await store.close();
    store = await open();
    expect([store.hubId, store.epoch]).toEqual([hubId, epoch]);
    expect((await store.ingest("web-01", stream.next(events("b", 1)), 6)).kind).toBe("ack");
    await store.ingest("web-01", results.next([{ class: runClass, body: runBody(RUN, "running") }]), 6);
    expect(await store.heads()).toEqual({ event: 3, run: 2 });
  });

  test("is WAL, with incremental vacuum", async () => {
    const database = new Database(file);
    expect(database.query("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
    expect(database.query("PRAGMA auto_vacuum").get()).toEqual({ auto_vacuum: 2 });
    database.close();
  });

  test("has the committed schema", async () => {
    const database = new Database(file, { readonly: true });
    const rows = database
      .query("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, name")
      .all() as { sql: string }[];
    database.close();
    const schema = `${rows.map((row) => `${row.sql};`).join("\n\n")}\n`;
    const snapshot = join(import.meta.dir, "schema.sql");
    if (process.env.UPDATE_SCHEMA === "1") await Bun.write(snapshot, schema);
    expect(schema).toBe(await Bun.file(snapshot).text());
  });

  test("a database of the first schema is brought up to date with what it holds", async () => {
    await store.ingest(
      "web-01",
      new StreamBuilder("e1", LANES.results).next([{ class: runClass, body: runBody(RUN, "running") }]),
      5,
    );
    await store.close();
    const database = new Database(file);
    for (const table of ["runs", "steps"]) database.run(`ALTER TABLE ${table} DROP COLUMN details`);
    database.run("DROP TABLE receipt_certificates");
    database.run("UPDATE schema_version SET version = 1");
    database.close();
    store = await open();
    expect((await store.run(undefined, RUN))!.steps).toHaveLength(2);
  });

  test("a newer schema and a file that is no database are refused, untouched", async () => {
    await store.close();
    const database = new Database(file);
    database.run("UPDATE schema_version SET version = 999");
    database.close();
    await expect(open()).rejects.toThrow("schema version 999");
    const bad = join(folder, "bad.db");
    writeFileSync(bad, "this is not a database".repeat(500));
    const opening = openHubStore({ file: bad, clock: systemClock(), ids: systemIds() });
    await expect(opening).rejects.toMatchObject({ code: "corrupt" });
    const repaired = new Database(file);
    repaired.run("UPDATE schema_version SET version = ?", [SCHEMA_VERSION]);
    repaired.close();
    store = await open();
  });

  test("waits for queued writes as it closes, and refuses later ones", async () => {
    const stream = new StreamBuilder();
    const first = store.ingest("web-01", stream.next(events("a", 2)), 5);
    const closing = store.close();
    expect((await first).kind).toBe("ack");
    await closing;
    await expect(store.heartbeat("web-01", {}, 1, 0)).rejects.toMatchObject({ code: "cancelled" });
    store = await open();
    expect((await store.counts()).records).toBe(2);
  });
});
