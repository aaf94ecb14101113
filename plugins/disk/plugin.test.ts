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

/** When disk.low was said, by a clock that nobody sets, over looks half an hour apart; `wall` is what the host says. */
async function saidAt(wall: (mono: number) => number, looks: number, checkpoint?: Json) {
  let mono = 0;
  const said: number[] = [];
  const clock = {
    mono: () => mono,
    wall: () => wall(mono),
    async *every() {
      for (; mono < (looks * HOUR) / 2; mono += HOUR / 2) yield mono;
    },
  };
  const options = { settings: { below: 1 }, home: "/", clock, signal: new AbortController().signal };
  const { context } = contextFor(disk, { ...options, ...(checkpoint !== undefined && { checkpoint }) });
  let last: Json | undefined;
  for await (const given of disk.run(context)) {
    said.push(mono / HOUR);
    last = (given as { checkpoint?: Json }).checkpoint;
  }
  return { said, last };
}

test("a clock that is set while it runs neither repeats disk.low nor silences it", async () => {
  const year = 365 * 24 * HOUR;
  for (const jump of [year, -year]) {
    const { said } = await saidAt((mono) => 2 * year + mono + (mono < 0.4 * HOUR ? 0 : jump), 5);
    expect(said).toEqual([0, 1, 2]);
  }
});

test("a clock that was set back before a restart does not repeat disk.low, nor silence it for ever", async () => {
  const { last } = await saidAt((mono) => 500 * HOUR + mono, 1);
  expect(last).toEqual({ low: true, at: 500 * HOUR });
  expect((await saidAt((mono) => 10 * HOUR + mono, 4, last)).said).toEqual([1]);
  expect((await saidAt((mono) => 500.6 * HOUR + mono, 2, last)).said).toEqual([0.5]);
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
