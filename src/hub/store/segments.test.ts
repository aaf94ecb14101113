import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { LANES, RECORD_CLASSES } from "../../model/record.ts";
import { openHubStore, type SqlHubStore } from "./hub-store.ts";
import { events, runBody, stepBody, StreamBuilder } from "./test-batches.ts";

let folder: string;
let store: SqlHubStore;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-segments-"));
  store = await openHubStore({ file: join(folder, "hub.db"), clock: systemClock(), ids: systemIds() });
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const AGENT = "web-01";

/** The segment that goes on after a batch of the one before. */
function after(batch: { lastHash: Uint8Array; lane: number; segment: number }): StreamBuilder {
  return new StreamBuilder("e1", batch.lane, batch.segment + 1, 0, batch.lastHash);
}

test("a closed segment drains behind the one that follows it, up to where that begins", async () => {
  const old = new StreamBuilder();
  const [a, b] = [old.next(events("a", 3)), old.next(events("b", 3))];
  const fresh = after(b).next(events("c", 2));
  expect(await store.ingest(AGENT, fresh, 1)).toMatchObject({ kind: "ack", added: 2 });
  expect(await store.ingest(AGENT, a, 1)).toMatchObject({ kind: "ack", added: 3 });
  expect(await store.ingest(AGENT, b, 1)).toMatchObject({ kind: "ack", added: 3 });
  expect(await store.ingest(AGENT, b, 1)).toMatchObject({ kind: "ack", added: 0 });
  const streams = await store.agentStreams(AGENT);
  expect(streams.map(({ segment, number, forked }) => [segment, number, forked])).toEqual([
    [2, 2, 0],
    [1, 6, 0],
  ]);
});

test("rows beyond the end that the next segment tells of are a fork, in whatever way they come", async () => {
  for (const [lane, together] of [
    [LANES.results, true],
    [LANES.events, false],
  ] as const) {
    const old = new StreamBuilder("e1", lane);
    const a = old.next(events(`a${lane}`, 3));
    const fresh = after(a).next(events(`c${lane}`, 1));
    const beyond = old.next(events(`b${lane}`, 2));
    await store.ingest(AGENT, fresh, 1);
    if (!together) await store.ingest(AGENT, a, 1);
    const batch = together
      ? { ...a, lastHash: beyond.lastHash, records: [...a.records, ...beyond.records] }
      : beyond;
    const outcome = await store.ingest(AGENT, batch, 1);
    expect(outcome).toMatchObject({ kind: "fork", cursor: { lane, segment: 1, number: together ? 0 : 3 } });
    if (outcome.kind === "fork") expect(outcome.message).toContain("segment 2 follows");
  }
});

test("older states of a run and its steps that come later change nothing, newer ones do", async () => {
  const row = (state: string) => ({ class: RECORD_CLASSES.run, body: runBody("run-1", state) });
  const step = (state: string) => ({ class: RECORD_CLASSES.step, body: stepBody("run-1", "restart", state) });
  const old = new StreamBuilder("e1", LANES.results);
  const queued = old.next([row("queued"), step("queued")]);
  const running = old.next([row("running"), step("running")]);
  const next = after(running);
  await store.ingest(AGENT, next.next([row("waiting"), step("waiting")]), 1);
  const seen = async () => {
    const found = await store.run(AGENT, "run-1");
    return [found!.run.state, found!.steps.find((each) => each.step === "restart")!.state];
  };
  for (const batch of [queued, running]) {
    expect(await store.ingest(AGENT, batch, 1)).toMatchObject({ kind: "ack", added: 2 });
    expect(await seen()).toEqual(["waiting", "waiting"]);
  }
  await store.ingest(AGENT, next.next([row("succeeded"), step("succeeded")]), 1);
  expect(await seen()).toEqual(["succeeded", "succeeded"]);
});

test("events of a closed segment that come later are listed once each, also when a new epoch tells them again", async () => {
  const old = new StreamBuilder();
  const a = old.next(events("a", 3));
  const b = after(a).next(events("b", 2));
  await store.ingest(AGENT, b, 1);
  await store.ingest(AGENT, a, 1);
  await store.ingest(AGENT, new StreamBuilder("e2").next([...events("a", 3), ...events("b", 2)]), 1);
  const ids = (await store.events({ limit: 100, after: 0 })).map(({ id }) => id);
  expect(ids).toEqual(["b-0", "b-1", "a-0", "a-1", "a-2"]);
});
