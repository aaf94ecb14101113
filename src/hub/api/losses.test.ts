import { afterEach, beforeEach, expect, test } from "bun:test";
import { LANES, type LossRecordBody, RECORD_CLASSES, ZERO_HASH } from "../../model/record.ts";
import { showAgent } from "../../cli/agents-show.ts";
import { type HubFixture, hubFixture } from "../../testing/hub-fixture.ts";
import type { AgentDetail, LossItem } from "./views.ts";

let hub: HubFixture;

beforeEach(async () => {
  hub = await hubFixture();
  await hub.addAgent("web-01");
});
afterEach(() => hub.close());

async function lose(epoch: string, counts: Record<string, number>): Promise<void> {
  const rows = Object.values(counts).reduce((sum, each) => sum + each, 0);
  const loss: LossRecordBody = {
    ...{ first: 1, last: rows, counts, prevHash: "00".repeat(32), lastHash: "ab".repeat(32) },
    ...{ reason: "cap", atMs: Date.parse("2026-11-21T20:00:00Z"), signature: "AAAA" },
  };
  const body = Buffer.from(JSON.stringify(loss));
  const records = [{ number: rows, class: RECORD_CLASSES.loss, body }];
  const lastHash = new Uint8Array(32).fill(0xab);
  const batch = { epoch, lane: LANES.results, segment: 1, first: 1, prevHash: ZERO_HASH, lastHash, records };
  expect((await hub.store.ingest("web-01", batch, Date.parse("2026-11-21T21:00:00Z"))).kind).toBe("ack");
}

async function get<T>(path: string): Promise<T> {
  const response = await hub.request(`/api/v1/${path}`);
  expect(response.status).toBe(200);
  return (await response.json()) as T;
}

test("losses of an agent, as the API and the command line show them", async () => {
  expect(await get<AgentDetail>("agents/web-01")).toMatchObject({ lostRows: 0 });
  expect(await get<{ items: LossItem[] }>("agents/web-01/losses")).toEqual({
    items: [],
    next: null,
  } as never);
  await lose("e1", { 2: 300, 3: 700, 0: 5 });
  // The same loss, carried into the next epoch.
  await lose("e2", { 2: 300, 3: 700, 0: 5 });
  const detail = await get<AgentDetail>("agents/web-01");
  expect(detail.lostRows).toBe(1005);
  const { items } = await get<{ items: LossItem[] }>("agents/web-01/losses");
  expect(items.map(({ epoch }) => epoch)).toEqual(["e2", "e1"]);
  expect(items[0]).toEqual({
    ...{ epoch: "e2", lane: "results", segment: 1, first: 1, last: 1005, reason: "cap" },
    counts: { unknown: 5, run: 300, step: 700 },
    at: "2026-11-21T20:00:00.000Z",
    receivedAt: "2026-11-21T21:00:00.000Z",
  });
  const shown = showAgent(detail, items, Date.parse("2026-11-21T22:00:00Z"), {
    color: false,
    width: undefined,
  }).join("\n");
  expect(shown).toContain("Lost before the hub had them: 1005 rows");
  expect(shown).toMatch(/results +e2 +1 +1 to 1005 +5 unknown, 300 run, 700 step +cap/);
});

test("an agent that is not there has none", async () => {
  expect((await hub.request("/api/v1/agents/nobody/losses")).status).toBe(404);
  expect((await hub.request("/api/v1/agents/web-01/losses?x=1")).status).toBe(422);
});
