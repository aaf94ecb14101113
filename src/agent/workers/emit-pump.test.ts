import { expect, test } from "bun:test";
import { EMIT_WINDOW } from "./emit-limits.ts";
import { EmitPump } from "./emit-pump.ts";

const tick = () => new Promise((resolve) => setImmediate(resolve));

test("a generator that yields now and then stays within the window while nothing is answered", async () => {
  const frames: { events: { id: string }[] }[] = [];
  const pump = new EmitPump((json) => frames.push(JSON.parse(json)));
  const count = EMIT_WINDOW * 3;
  let asked = 0;
  const done = pump.run(
    (async function* () {
      for (asked = 1; asked <= count; asked++) {
        yield { type: "t", id: String(asked) };
        // Later than the flush of what was just yielded.
        await tick();
        await tick();
      }
    })(),
  );
  for (let i = 0; i < count * 4; i++) await tick();
  expect(frames).toHaveLength(EMIT_WINDOW);
  expect(asked).toBe(EMIT_WINDOW + 1);

  let answered = 0;
  for (let i = 0; i < count * 10 && answered < count; i++) {
    await tick();
    expect(frames.length - answered).toBeLessThanOrEqual(EMIT_WINDOW);
    if (answered < frames.length) {
      answered++;
      pump.answered(undefined);
    }
  }
  await done;
  expect(frames.flatMap(({ events }) => events.map(({ id }) => Number(id)))).toEqual(
    Array.from({ length: count }, (_, i) => i + 1),
  );
});

test("a refusal ends a generator that waits for something to happen", async () => {
  const frames: string[] = [];
  const pump = new EmitPump((json) => frames.push(json));
  const done = pump.run(
    (async function* () {
      yield { type: "t" };
      await new Promise(() => {});
    })(),
  );
  while (frames.length === 0) await tick();
  pump.answered("the disk is full");
  expect(await done.catch((error: Error) => error.message)).toBe(
    "the agent refused an emit: the disk is full",
  );
});

test("who wants to know is told when its emit is answered, in its order", async () => {
  const frames: string[] = [];
  const told: string[] = [];
  const pump = new EmitPump((json) => frames.push(json));
  const done = pump.run(
    (async function* () {
      yield { events: [{ type: "t" }], done: (refused) => void told.push(`a ${refused}`) };
      yield { events: [{ type: "t" }], done: (refused) => void told.push(`b ${refused}`) };
      await tick();
      await tick();
      yield { events: [], done: (refused) => void told.push(`nothing ${refused}`) };
      await tick();
      await tick();
      yield { events: [{ type: "t" }], done: (refused) => void told.push(`c ${refused}`) };
    })(),
  );
  for (let i = 0; i < 20; i++) await tick();
  expect(frames).toHaveLength(2);
  expect(told).toEqual(["nothing null"]);
  pump.answered(undefined);
  expect(told).toEqual(["nothing null", "a null", "b null"]);
  pump.answered("disk full");
  expect(told.at(-1)).toBe("c disk full");
  expect(done).rejects.toThrow(/disk full/);
});
