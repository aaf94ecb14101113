import { expect, test } from "bun:test";
import { type Figure, meetsGoal, percentile } from "./frame.ts";
import { childrenOf, cpuPercent, pssMb, startProgram } from "./processes.ts";
import { formatValue } from "./report.ts";

test("percentiles are samples, by nearest rank", () => {
  const samples = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect(percentile(samples, 0.5)).toBe(50);
  expect(percentile(samples, 0.99)).toBe(99);
  expect(percentile(samples, 1)).toBe(100);
  expect(percentile([7], 0.01)).toBe(7);
  expect(() => percentile([], 0.5)).toThrow("no samples");
});

test("goals", () => {
  const figure = (goal: Figure["goal"], baseline?: number): Figure => ({
    name: "f",
    value: 30,
    unit: "ms",
    ...(goal && { goal }),
    ...(baseline !== undefined && { baseline: { name: "b", value: baseline } }),
  });
  expect(meetsGoal(figure(undefined))).toBeNull();
  expect(meetsGoal(figure({ kind: "at most", value: 30 }))).toBe(true);
  expect(meetsGoal(figure({ kind: "at most", value: 29 }))).toBe(false);
  expect(meetsGoal(figure({ kind: "at least", value: 31 }))).toBe(false);
  expect(meetsGoal(figure({ kind: "ratio at most", value: 1.6 }, 20))).toBe(true);
  expect(meetsGoal(figure({ kind: "ratio at most", value: 1.4 }, 20))).toBe(false);
  expect(meetsGoal(figure({ kind: "ratio at least", value: 0.3 }, 120))).toBe(false);
  expect(meetsGoal(figure({ kind: "over baseline at most", value: 10 }, 20))).toBe(true);
  expect(meetsGoal(figure({ kind: "over baseline at most", value: 9 }, 20))).toBe(false);
  expect(meetsGoal(figure({ kind: "ratio at most", value: 2 }))).toBe(false);
});

test("values have three significant digits", () => {
  expect(formatValue(143_212.4, "1/s")).toBe("143,212 1/s");
  expect(formatValue(12.345, "ms")).toBe("12.3 ms");
  expect(formatValue(0.0456, "%")).toBe("0.046 %");
  expect(formatValue(3, "")).toBe("3.00");
});

test("a process that works costs a core, one that rests costs nothing", async () => {
  const ready = "console.log(JSON.stringify({ ready: true }));";
  const busy = await startProgram([process.execPath, "-e", `${ready} for (;;);`]);
  const resting = await startProgram([process.execPath, "-e", `${ready} setTimeout(() => {}, 60_000);`]);
  try {
    const [high, low] = await Promise.all([cpuPercent(busy.pid, 300), cpuPercent(resting.pid, 300)]);
    // Other tests run beside this one: it is enough to tell the two apart.
    expect(high).toBeGreaterThan(10);
    expect(low).toBeLessThan(high / 2);
    expect(pssMb(resting.pid)).toBeGreaterThan(1);
    expect(childrenOf(process.pid)).toContain(resting.pid);
  } finally {
    await Promise.all([busy.stop(), resting.stop()]);
  }
});

test("a program that does not get ready is an error with what it said", async () => {
  expect(startProgram(["/bin/sh", "-c", "echo no home >&2; exit 3"])).rejects.toThrow(/exit 3\): no home/);
});
