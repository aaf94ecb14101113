import { expect, test } from "bun:test";
import { readCall } from "./call.ts";

const args = (line: string) => readCall(["memory", ...line.split(" ")]).args;

test("words become requests", () => {
  expect(args("get a")).toEqual({ op: "get", key: "a" });
  expect(args("set a 5 --ttl 1h")).toEqual({ op: "set", key: "a", value: 5, ttlMs: 3_600_000 });
  expect(args("set a 5 --text --namespace web")).toEqual({
    op: "set",
    key: "a",
    value: "5",
    namespace: "web",
  });
  expect(args("set a plain")).toEqual({ op: "set", key: "a", value: "plain" });
  expect(args("checkout a --wait 5s")).toEqual({ op: "checkout", key: "a", waitMs: 5000 });
  expect(args('update a 17 {"n":1}')).toEqual({ op: "update", key: "a", token: 17, value: { n: 1 } });
  expect(args("checkin a 17")).toEqual({ op: "checkin", key: "a", token: 17 });
  expect(args("list")).toEqual({ op: "list", prefix: "" });
  expect(readCall(["memory", "set", "a", "1"]).silent).toBe(true);
  expect(readCall(["memory", "get", "a"]).silent).toBe(false);
});

test("what is wrong is told as usage", () => {
  for (const line of [
    "",
    "steal a",
    "get",
    "get a b",
    "set a",
    "update a x 1",
    "set a 1 --ttl soon",
    "checkin a 0",
  ])
    expect(() => args(line), line).toThrow("holdfast call: ");
});
