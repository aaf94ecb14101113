import { expect, test } from "bun:test";
import { systemClock } from "../../core/clock.ts";
import { until } from "../../testing/until.ts";
import { EmitGate } from "./emit-gate.ts";

const clock = systemClock();

function entering(gate: EmitGate, count: number) {
  const entered: number[] = [];
  const all = Array.from({ length: count }, async (_, at) => {
    await gate.enter();
    entered.push(at);
  });
  return { entered, all: Promise.all(all) };
}

test("an open gate lets everything through at once", async () => {
  const gate = new EmitGate(clock);
  const { entered, all } = entering(gate, 100);
  expect(gate.waiting).toBe(0);
  await all;
  expect(entered).toHaveLength(100);
});

test("while it is held all wait; when it opens all go on, in order", async () => {
  const gate = new EmitGate(clock);
  gate.set({ delayMs: 0, held: true });
  const { entered, all } = entering(gate, 5);
  await clock.sleep(20);
  expect(entered).toEqual([]);
  expect(gate.waiting).toBe(5);
  gate.set({ delayMs: 0, held: false });
  await all;
  expect(entered).toEqual([0, 1, 2, 3, 4]);
  expect(gate.waiting).toBe(0);
});

test("with a delay they go through one after the other", async () => {
  const gate = new EmitGate(clock);
  gate.set({ delayMs: 20, held: false });
  const started = clock.mono();
  const { entered, all } = entering(gate, 3);
  await all;
  expect(entered).toEqual([0, 1, 2]);
  // Timers may be a little early.
  expect(clock.mono() - started).toBeGreaterThan(55);
});

test("a long delay that is taken back lets those in that wait", async () => {
  const gate = new EmitGate(clock);
  gate.set({ delayMs: 3_600_000, held: false });
  const { all } = entering(gate, 3);
  await until("they wait", () => gate.waiting === 3);
  gate.set({ delayMs: 0, held: false });
  await all;
});

test("released, it stays open whatever it is told", async () => {
  const gate = new EmitGate(clock);
  gate.set({ delayMs: 0, held: true });
  const { all } = entering(gate, 2);
  gate.release();
  gate.set({ delayMs: 0, held: true });
  await all;
  await gate.enter();
});
