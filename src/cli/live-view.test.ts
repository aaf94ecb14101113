import { expect, test } from "bun:test";
import { systemClock } from "../core/clock.ts";
import { systemIds } from "../core/ids.ts";
import { ADMIN_TOKEN, hubFixture } from "../testing/hub-fixture.ts";
import { HubClient } from "./client/client.ts";
import { runLiveView } from "./live-view.ts";

const RUN = "01938e5c-0000-7000-8000-000000000001";

async function collect(json: boolean, wanted: number): Promise<string[]> {
  const hub = await hubFixture();
  hub.listen();
  const ending = new AbortController();
  try {
    await hub.addAgent("web-01");
    await hub.addEvent("web-01", { subject: "sample.log", data: { line: "ERROR \u001b[31mdisk" } });
    const client = new HubClient({
      target: { url: hub.url, token: ADMIN_TOKEN, source: "a test" },
      clock: systemClock(),
      ids: systemIds(),
    });
    const lines: string[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    // A run's changes are told as they stand when they are read: each waits for the line of the one before.
    const { promise: running, resolve: onRunning } = Promise.withResolvers<void>();
    const line = (text: string) => {
      lines.push(text);
      if (text.includes("running")) onRunning();
      if (lines.length === wanted) resolve();
    };
    const after = { event: 0, run: 0 };
    const view = runLiveView({ client, out: { line }, signal: ending.signal, json, after });
    await hub.putRun("web-01", { id: RUN, state: "running", startedMs: Date.now() - 1200 });
    await running;
    await hub.putStep("web-01", { run: RUN, step: "note" });
    const endedMs = Date.now();
    await hub.putRun("web-01", {
      id: RUN,
      state: "failed",
      reason: "step note",
      startedMs: endedMs - 1200,
      endedMs,
    });
    await promise;
    ending.abort();
    await view;
    return lines;
  } finally {
    ending.abort();
    await hub.close();
  }
}

test("a line for each event and each change of a run's state, clean of control characters", async () => {
  const lines = (await collect(false, 3)).sort(
    (a, b) => Number(a.includes("run ")) - Number(b.includes("run ")),
  );
  expect(lines[0]).toMatch(/^\S{19}  web-01 {6}log\.line {10}sample\.log: ERROR disk$/);
  expect(lines[1]).toMatch(/web-01 {6}run react {9}running  000000000001$/);
  expect(lines[2]).toMatch(/run react {9}failed in 1\.2s: step note  000000000001$/);
});

test("as JSON: one object a line", async () => {
  const items = (await collect(true, 3)).map((line) => JSON.parse(line));
  expect(items.filter((item) => item.kind === "event")).toHaveLength(1);
  expect(items.filter((item) => item.kind === "run").map((item) => item.state)).toEqual([
    "running",
    "failed",
  ]);
});

test("a token that the hub does not know ends the view with an error", async () => {
  const hub = await hubFixture();
  hub.listen();
  try {
    const client = new HubClient({
      target: { url: hub.url, token: "wrong-token-9", source: "a test" },
      clock: systemClock(),
      ids: systemIds(),
    });
    const view = runLiveView({ client, out: { line() {} }, signal: new AbortController().signal });
    await expect(view).rejects.toMatchObject({ code: "unauthenticated" });
  } finally {
    await hub.close();
  }
});
