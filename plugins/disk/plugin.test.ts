import { expect, test } from "bun:test";
import { v, type Json } from "../../src/sdk/holdfast.ts";
import { collect, contextFor } from "../../src/testing/plugin-context.ts";
import disk, { judge, readUsage } from "./plugin.ts";

const HOUR = 3_600_000;

test("says low once, again each hour, and ok only two points above the limit", () => {
  const state = { low: false, at: 0 };
  const now = 1_000 * HOUR;
  expect(judge(state, 0.11, 0.1, now)).toBeUndefined();
  expect(judge(state, 0.09, 0.1, now)).toBe("disk.low");
  expect(judge(state, 0.08, 0.1, now + HOUR - 1)).toBeUndefined();
  expect(judge(state, 0.08, 0.1, now + HOUR)).toBe("disk.low");
  expect(judge(state, 0.11, 0.1, now + HOUR + 1)).toBeUndefined();
  expect(judge(state, 0.09, 0.1, now + HOUR + 2)).toBeUndefined();
  expect(judge(state, 0.12, 0.1, now + HOUR + 3)).toBe("disk.ok");
  expect(judge(state, 0.12, 0.1, now + HOUR + 4)).toBeUndefined();
});

test("a clock that was set back does not repeat disk.low, nor silence it for ever", () => {
  const state = { low: true, at: 500 * HOUR };
  expect(judge(state, 0.01, 0.1, 10 * HOUR)).toBeUndefined();
  expect(judge(state, 0.01, 0.1, 11 * HOUR)).toBe("disk.low");
});

test("on a real file system: low with its numbers, and a restart does not say it again", async () => {
  const start = (settings: Record<string, unknown>, checkpoint?: Json) =>
    disk.run(
      contextFor(disk, { settings, home: "/", ...(checkpoint !== undefined && { checkpoint }) }).context,
    );
  const usage = await readUsage("/");
  const first = await collect(start({ below: 1, every: "10ms" }), () => true);
  expect(first.events[0]).toMatchObject({
    type: "disk.low",
    subject: "/",
    data: { total: usage.total, below: 1 },
  });
  const again = await collect(
    start({ below: "100%", every: "10ms", report: "20ms" }, first.checkpoint!),
    (events) => events.length === 3,
  );
  expect(again.events.map((event) => event.type)).toEqual(["disk.usage", "disk.usage", "disk.usage"]);
  const ok = await collect(start({ below: 0, every: "10ms" }, first.checkpoint!), () => true);
  expect(ok.events[0]?.type).toBe("disk.ok");
});

test("a path that is not there is logged once", async () => {
  const stop = new AbortController();
  const { context, lines } = contextFor(disk, {
    settings: { path: "missing", below: "10%", every: "10ms" },
    home: "/nowhere",
    signal: stop.signal,
    clock: {
      async *every() {
        yield 0;
        yield 1;
        yield 2;
      },
    },
  });
  expect((await collect(disk.run(context), () => false)).events).toEqual([]);
  expect(lines).toHaveLength(1);
  expect(lines[0]?.fields?.path).toBe("/nowhere/missing");
});

test("settings: shares and percentages only", () => {
  const parse = (below: unknown) => v.safeParse(disk.settings, { below });
  expect(parse("7.5%").output).toMatchObject({ below: 0.075, every: 30_000, path: "/" });
  for (const wrong of ["7", "101%", 2, -1, null]) expect(parse(wrong).success).toBe(false);
  expect(v.safeParse(disk.settings, { below: 0.1, bellow: 1 }).success).toBe(false);
});
