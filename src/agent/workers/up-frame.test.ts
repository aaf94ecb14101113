import { describe, expect, test } from "bun:test";
import * as v from "valibot";
import { proposedEventSchema } from "../../model/event-schema.ts";
import { proposedEventProblem } from "./proposed-event.ts";
import { parseUpFrame } from "./up-frame.ts";

describe("events are judged as the schema judges them", () => {
  const values: Record<string, unknown[]> = {
    type: [
      "a",
      "probe.down",
      "a:b/c-d_e.F9",
      "",
      "a b",
      "ä",
      "a\n",
      "x".repeat(256),
      "x".repeat(257),
      1,
      null,
      {},
      [],
    ],
    id: ["1", "", "x".repeat(256), "x".repeat(257), 0, null, ["a"]],
    subject: ["/var/log/x", "", "x".repeat(1024), "x".repeat(1025), false, null],
    time: [
      "2026-11-21T05:00:00Z",
      "2026-11-21T05:00:00.123456789+01:00",
      "2026-11-21 05:00:00Z",
      "2026-11-21",
      "",
      5,
      null,
    ],
    data: [null, 0, "x", [], { a: { b: [1] } }],
    severity: ["debug", "critical", "fatal", "", 1, null],
  };
  for (const [key, candidates] of Object.entries(values)) {
    for (const value of candidates) {
      test(`${key} = ${JSON.stringify(value).slice(0, 40)}`, () => {
        const event = { type: "ok", [key]: value };
        expect(proposedEventProblem(event) === null).toBe(v.is(proposedEventSchema, event));
      });
    }
  }
  test.each(
    [null, 1, "x", [], [{ type: "a" }], {}, { id: "a" }, { type: "a", extra: 1 }].map((value) => ({ value })),
  )("%j", ({ value }) => {
    expect(proposedEventProblem(value) === null).toBe(v.is(proposedEventSchema, value));
  });
});

describe("frames", () => {
  const error = { message: "m", code: "failed", retryable: true, started: false };
  test.each([
    { kind: "emit", seq: 1, events: [{ type: "a" }], checkpoint: { at: 1 } },
    { kind: "result", id: 1, output: null },
    { kind: "error", id: 1, error },
    { kind: "log", level: "info", message: "m", fields: { a: 1 } },
    { kind: "failed", message: "m" },
    { kind: "failed", message: "m", tooManyFiles: true },
    { kind: "started" },
    { kind: "drained" },
    { kind: "pong", id: 3 },
  ])("%j is a frame", (frame) => {
    expect(parseUpFrame(structuredClone(frame))).toEqual(frame as never);
  });

  test.each(
    [
      null,
      7,
      [],
      {},
      { kind: "shutdown" },
      { kind: { toString: "x" } },
      { kind: "emit", seq: 1 },
      { kind: "emit", seq: "1", events: [] },
      { kind: "emit", seq: 1, events: [{ type: "a b" }] },
      { kind: "result" },
      { kind: "result", id: 1.5, output: 1 },
      { kind: "error", id: 1, error: { message: "m", code: "c" } },
      { kind: "log", level: "fatal", message: "m" },
      { kind: "log", level: "info", message: "m", fields: [1] },
      { kind: "ready", manifest: { name: "../x", kind: "trigger", description: "", settings: {} } },
      { kind: "ready", manifest: { name: "x", kind: "other", description: "", settings: {} } },
    ].map((frame) => ({ frame })),
  )("%j is refused", ({ frame }) => {
    expect(() => parseUpFrame(frame)).toThrow();
  });

  test("long messages are cut", () => {
    const frame = parseUpFrame({ kind: "failed", message: "x".repeat(100_000) });
    expect((frame as { message: string }).message.length).toBeLessThan(5000);
  });
});
