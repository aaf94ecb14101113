import { describe, expect, test } from "bun:test";
import { backoffDelay } from "./backoff.ts";
import { systemClock } from "./clock.ts";
import { formatDuration, isDuration, parseDuration } from "./duration.ts";
import { isLoopback, isLoopbackHostHeader, parseListen } from "./listen.ts";
import { createLogger, type LogLevel } from "./logger.ts";
import { maskText, maskValue } from "./mask.ts";
import { TaskGroup } from "./task-group.ts";

describe("durations", () => {
  test.each([
    ["250ms", 250],
    ["30s", 30_000],
    ["1h30m", 5_400_000],
    ["1.5s", 1500],
    ["2d", 172_800_000],
  ])("%s", (text, ms) => expect(parseDuration(text)).toBe(ms));
  test.each(["", "5", "s", "-1s", "1 s", "1w", "1s ", "9".repeat(40)])("%p is refused", (text) => {
    expect(isDuration(text)).toBe(false);
    expect(() => parseDuration(text)).toThrow("is not a duration");
  });
  test.each([250, 30_000, 5_400_000, 90_061_001])("%p comes back", (ms) =>
    expect(parseDuration(formatDuration(ms))).toBe(ms),
  );
});

describe("backoff", () => {
  test("grows as its kind says and jitters only at the cap", () => {
    const series = (kind: "fixed" | "linear" | "exponential", random = 0) =>
      [1, 2, 3, 4, 50].map((attempt) =>
        backoffDelay({ kind, initialMs: 100, maxMs: 400 }, attempt, () => random),
      );
    expect(series("fixed")).toEqual([100, 100, 100, 100, 100]);
    expect(series("linear")).toEqual([100, 200, 300, 200, 200]);
    expect(series("exponential")).toEqual([100, 200, 200, 200, 200]);
    expect(series("exponential", 0.999).at(-1)).toBeCloseTo(399.8);
  });
});

describe("secrets", () => {
  test.each([
    ["Authorization: Bearer abcdefgh12345678", "Authorization: Bearer ***"],
    ["token hfjoin_abcdefgh12 used", "token *** used"],
    [
      "-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----",
      "-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----",
    ],
    ["nothing here", "nothing here"],
  ])("%p is masked", (text, masked) => expect(maskText(text)).toBe(masked));
  test("by name, at any depth, without touching the original", () => {
    const value = { api_token: "x", deep: [{ password: "y", user: "z" }], tokens: 3, apiKey: null };
    expect(maskValue(value)).toEqual({
      api_token: "***",
      deep: [{ password: "***", user: "z" }],
      tokens: 3,
      apiKey: null,
    });
    expect(value.api_token).toBe("x");
  });
});

test("a log line is JSON, masked, filtered by a level that may change", () => {
  const lines: string[] = [];
  let level: LogLevel = "info";
  const log = createLogger({
    sinks: [{ write: (line) => lines.push(line) }],
    level: () => level,
    wall: () => 0,
    base: { agent: "web-01" },
  });
  log.child("runs").info("hello hfadm_secretsecret", { token: "x", n: 1 });
  log.debug("not yet");
  level = "debug";
  log.debug("now");
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    {
      time: "1970-01-01T00:00:00.000Z",
      level: "info",
      component: "runs",
      agent: "web-01",
      message: "hello ***",
      token: "***",
      n: 1,
    },
    { time: "1970-01-01T00:00:00.000Z", level: "debug", component: "main", agent: "web-01", message: "now" },
  ]);
});

test("trusted time never goes back, and trust only raises it", () => {
  const clock = systemClock();
  const before = clock.trusted();
  clock.trust(before - 1_000_000);
  expect(clock.trusted()).toBeGreaterThanOrEqual(before);
  clock.trust(before + 10_000_000);
  expect(clock.trusted()).toBeGreaterThanOrEqual(before + 10_000_000);
});

test("sleep ends with its signal", async () => {
  const abort = new AbortController();
  const sleeping = systemClock().sleep(60_000, abort.signal);
  abort.abort(new Error("stop"));
  await expect(sleeping).rejects.toThrow("stop");
});

test("a task group: the first failure aborts the siblings, and join waits for their clean-up", async () => {
  const group = new TaskGroup();
  const seen: string[] = [];
  group.start(async (signal) => {
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    await Promise.resolve();
    seen.push("cleaned");
  });
  group.start(async () => {
    throw new Error("first");
  });
  await expect(group.join()).rejects.toThrow("first");
  expect(seen).toEqual(["cleaned"]);
});

describe("addresses", () => {
  test("are parsed", () => {
    expect(parseListen("127.0.0.1:9110")).toEqual({ host: "127.0.0.1", port: 9110 });
    expect(parseListen("[::1]:0")).toEqual({ host: "::1", port: 0 });
    for (const bad of ["", "localhost", "1.2.3.4:99999", "a b:1"])
      expect(() => parseListen(bad)).toThrow("not an address");
  });
  test("loopback is told from the rest", () => {
    expect(["127.0.0.1", "127.9.9.9", "::1", "localhost"].every(isLoopback)).toBe(true);
    expect(["0.0.0.0", "10.0.0.1", "127.0.0.1.evil.example", "::"].some(isLoopback)).toBe(false);
    expect(["127.0.0.1:1", "localhost", "[::1]:80"].every(isLoopbackHostHeader)).toBe(true);
    expect([null, "evil.example", "localhost.evil.example:80"].some(isLoopbackHostHeader)).toBe(false);
  });
});
