import { expect, test } from "bun:test";
import { breakerDestination, type BreakerEvent, type BreakerState, nextBreakerState } from "./breaker.ts";

test("the table of a circuit breaker", () => {
  const rows: [BreakerState, BreakerEvent, BreakerState][] = [
    ["closed", "tripped", "open"],
    ["closed", "failed", "closed"],
    ["closed", "succeeded", "closed"],
    ["closed", "elapsed", "closed"],
    ["open", "elapsed", "half_open"],
    ["open", "failed", "open"],
    ["open", "tripped", "open"],
    // A call that was under way when the circuit opened says nothing: the delay decides.
    ["open", "succeeded", "open"],
    ["half_open", "succeeded", "closed"],
    ["half_open", "failed", "open"],
    ["half_open", "tripped", "open"],
    ["half_open", "elapsed", "half_open"],
  ];
  for (const [from, event, to] of rows)
    expect([from, event, nextBreakerState(from, event)]).toEqual([from, event, to]);
});

test("a destination is the origin of an address, else the text", () => {
  expect(breakerDestination("https://One.example:443/a/b?c=1")).toBe("https://one.example");
  expect(breakerDestination("http://10.0.0.1:8080/x")).toBe("http://10.0.0.1:8080");
  expect(breakerDestination("mailto:a@b.example")).toBe("mailto:a@b.example");
  expect(breakerDestination("the printer")).toBe("the printer");
});
