import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { HoldfastError } from "../../core/errors.ts";
import type { CloudEvent } from "../../model/event.ts";
import { OutputRig } from "../../testing/output-rig.ts";

let rig: OutputRig;
let batches: string[][];
const taken = () => batches.flat();
const names = (count: number, type = "e") => Array.from({ length: count }, (_, index) => `${type}-${index}`);
const take = async (events: CloudEvent[]) => void batches.push(events.map(({ id }) => id));
const told = (message: string, retryable: boolean, more: Record<string, unknown> = {}) =>
  new HoldfastError("failed", message, { retryable, details: { code: "failed", ...more } });

beforeEach(async () => {
  rig = new OutputRig();
  batches = [];
  await rig.open();
});
afterEach(() => rig.end());

/** The output begins to follow before there is anything. */
async function begin(...args: Parameters<OutputRig["start"]>): Promise<void> {
  rig.start(...args);
  await rig.settle();
}

test("batches hold so many events and bytes at most, in order, and each event is matched once", async () => {
  const seen: string[] = [];
  const accepts = ({ id, type }: CloudEvent) => {
    seen.push(id);
    return type === "e";
  };
  await begin(take, { accepts, batch: { events: 3, bytes: 300, delayMs: 0 } });
  await rig.add(["x-0", ...names(7), "x-1"]);
  await rig.until("all", () => taken().length === 7);
  expect(taken()).toEqual(names(7));
  expect(Math.max(...batches.map((batch) => batch.length))).toBe(2);
  expect(seen).toEqual(["x-0", ...names(7), "x-1"]);
  await rig.settle();
  expect(await rig.store.outputCursor("archive")).toBe(9);
});

test("a batch that is not full waits for more, one that is does not", async () => {
  await begin(take, { batch: { events: 4, bytes: 1e6, delayMs: 5000 } });
  await rig.add(["e-0"]);
  await rig.settle();
  await rig.add(["e-1"]);
  await rig.settle();
  expect(taken()).toEqual([]);
  await rig.until("the delay", () => taken().length === 2);
  expect([batches, rig.clock.mono()]).toEqual([[["e-0", "e-1"]], 5000]);
  await rig.add(names(4, "f"));
  await rig.settle();
  expect(batches[1]).toEqual(names(4, "f"));
});

test("a destination that is down for a day: growing waits, then one try a delay, and nothing is missing", async () => {
  const tries: number[] = [];
  const day = 24 * 3_600_000;
  await begin(async (events) => {
    tries.push(rig.clock.mono());
    if (rig.clock.mono() < day) throw new Error("down");
    await take(events);
  });
  await rig.add(names(20));
  await rig.until("an open circuit", () => rig.pump.delivery().circuit === "open");
  expect(tries.map((at, index) => at - (tries[index - 1] ?? 0))).toEqual([0, 500, 1000, 2000, 4000]);
  expect(rig.pump.delivery()).toMatchObject({ failures: 5, behind: 20, lastError: "down" });
  await rig.until("the end", () => taken().length === 20);
  expect(taken()).toEqual(names(20));
  // One try in 15 to 30 seconds.
  expect(tries.length).toBeGreaterThanOrEqual(day / 30_000);
  expect(tries.length).toBeLessThan(day / 15_000 + 10);
  await rig.settle();
  expect(rig.pump.delivery()).toMatchObject({ failures: 0, circuit: "closed", behind: 0, lost: {} });
  expect(rig.pump.delivery().lastError).toBeUndefined();
});

test("an event that is refused for good is found, set aside and counted, and the others arrive in order", async () => {
  await begin(async (events) => {
    if (events.some(({ type }) => type === "bad")) throw told("no such field", false);
    await take(events);
  });
  const ids = [...names(5), "bad-1", ...names(9, "f"), "bad-2"];
  await rig.add(ids);
  await rig.until("the others", () => taken().length === 14 && rig.pump.delivery().rejected === 2);
  expect(taken()).toEqual(ids.filter((id) => !id.startsWith("bad")));
  expect(rig.clock.mono()).toBe(0);
});

test("a denial sets nothing aside: it waits until the output may", async () => {
  let allowed = false;
  await begin(async (events) => {
    if (!allowed) throw told("denied: open /x", false, { code: "denied" });
    await take(events);
  });
  await rig.add(["e-0"]);
  await rig.until("tries", () => rig.pump.delivery().failures === 3);
  allowed = true;
  await rig.until("it", () => taken().length === 1);
  expect(rig.pump.delivery().rejected).toBe(0);
});

test("what a destination took of a batch does not come again, nor what it rejected behind that", async () => {
  let first = true;
  await begin(async (events) => {
    if (first) {
      first = false;
      await take(events.slice(0, 3));
      throw told("full", true, {
        partial: {
          taken: 3,
          rejected: [
            { index: 1, reason: "odd" },
            { index: 5, reason: "odd" },
          ],
        },
      });
    }
    await take(events);
  });
  await rig.add(names(8));
  await rig.until("all", () => taken().length === 7);
  expect(batches).toEqual([
    ["e-0", "e-1", "e-2"],
    ["e-3", "e-4", "e-6", "e-7"],
  ]);
  expect(rig.pump.delivery().rejected).toBe(2);
});

test("beyond the cap the oldest are let go, counted by class, told once, and the rest arrives", async () => {
  let up = false;
  await begin(
    async (events) => {
      if (!up) throw new Error("down");
      await take(events);
    },
    { backlog: 20, accepts: ({ type }) => type !== "x" },
  );
  await rig.add([...names(6), ...names(10, "f"), ...names(5, "x"), ...names(4, "g")]);
  await rig.until("a loss", () => rig.told.length > 0);
  const [event] = rig.told;
  expect(event).toMatchObject({
    id: "lost-archive-1-20",
    type: "output.lost",
    subject: "archive",
    data: { first: 1, last: 20, lost: 16 },
  });
  expect((event!.data as { classes: unknown }).classes).toEqual([
    { type: "e", severity: "none", count: 6 },
    { type: "f", severity: "none", count: 10 },
  ]);
  expect(rig.pump.delivery()).toMatchObject({ lost: { none: 16 }, recentLoss: true });
  up = true;
  await rig.until("the rest", () => taken().length === 4);
  expect(taken()).toEqual(names(4, "g"));
});

test("a stop while it waits for a destination ends at once, and nothing is skipped", async () => {
  await begin(async () => Promise.reject(new Error("down")));
  await rig.add(names(3));
  await rig.until("a failure", () => rig.pump.delivery().failures > 0);
  await rig.stop();
  rig.start(take);
  await rig.until("all", () => taken().length === 3);
  expect(taken()).toEqual(names(3));
});

test("events that the store had to let go before they were read are told too, and the rest arrives", async () => {
  await begin(async () => Promise.reject(new Error("down")));
  await rig.add(names(10));
  await rig.until("a failure", () => rig.pump.delivery().failures > 0);
  await rig.stop();
  await rig.store.close();
  const file = new Database(rig.path);
  // Some stay behind, as those of open runs do.
  file.run("DELETE FROM events WHERE n <= 7 AND n <> 3");
  file.close();
  await rig.open();
  rig.start(take);
  await rig.until("the last", () => taken().at(-1) === "e-9");
  expect(taken()).toEqual(["e-2", "e-7", "e-8", "e-9"]);
  expect(rig.told.map(({ data }) => data)).toMatchObject([
    { first: 1, last: 2, lost: 2, classes: [{ type: "unknown", severity: "unknown", count: 2 }] },
    { first: 4, last: 7, lost: 4 },
  ]);
  expect(rig.pump.delivery().lost).toEqual({ unknown: 6 });
});
