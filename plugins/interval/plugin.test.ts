import { expect, test } from "bun:test";
import { collect, contextFor } from "../../src/testing/plugin-context.ts";
import type { Json } from "../../src/sdk/holdfast.ts";
import interval from "./plugin.ts";

const start = (settings: Record<string, unknown>, more: { checkpoint?: Json; signal?: AbortSignal } = {}) =>
  interval.run(contextFor(interval, { settings, home: "/", ...more }).context);

test("ticks with the data of the settings, and goes on counting from its checkpoint", async () => {
  const first = await collect(
    start({ every: "10ms", data: { room: "a", tick: 9 } }),
    (all) => all.length === 3,
  );
  expect(first.events.map((event) => [event.type, event.data])).toEqual([
    ["interval.tick", { room: "a", tick: 1 }],
    ["interval.tick", { room: "a", tick: 2 }],
    ["interval.tick", { room: "a", tick: 3 }],
  ]);
  const next = await collect(
    start({ every: "10ms", type: "beat", data: [1] }, { checkpoint: first.checkpoint! }),
    () => true,
  );
  expect(next.events).toEqual([{ type: "beat", data: { data: [1], tick: 4 } }]);
});

test("a restart keeps the pace", async () => {
  const began = performance.now();
  await collect(start({ every: "200ms" }, { checkpoint: { tick: 1, at: Date.now() - 50 } }), () => true);
  expect(performance.now() - began).toBeGreaterThan(100);
  const early = performance.now();
  await collect(start({ every: "1h" }, { checkpoint: { tick: 1, at: Date.now() + 9e9 } }), () => true);
  expect(performance.now() - early).toBeLessThan(1000);
});

test("stops after count, also after a restart, and ends with the signal", async () => {
  const stop = new AbortController();
  const generator = start({ every: "10ms", count: 2 }, { signal: stop.signal });
  expect((await generator.next()).done).toBe(false);
  const second = (await generator.next()).value as { checkpoint: Json };
  const third = generator.next();
  const again = start(
    { every: "10ms", count: 2 },
    { signal: stop.signal, checkpoint: second.checkpoint },
  ).next();
  expect(await Promise.race([third, again, Bun.sleep(60)])).toBeUndefined();
  stop.abort();
  expect((await third).done && (await again).done).toBe(true);
});
