import { expect, test } from "bun:test";
import { readCall } from "./call.ts";

const call = (line: string) => readCall(["state", ...line.split(" ")]);

test("words become a request", () => {
  expect(call("load")).toMatchObject({ verb: "state", args: { op: "load" }, silent: false });
  expect(call("save 7")).toMatchObject({ args: { op: "save", value: 7, force: false }, silent: true });
  expect(call("save 7 --text --force --every 10s").args).toEqual({
    ...{ op: "save", value: "7", force: true, everyMs: 10_000 },
  });
});

test("what is wrong is told", () => {
  for (const line of ["", "save", "save 1 2", "load 1", "drop"])
    expect(() => call(line), line).toThrow("state load, or state save VALUE");
  expect(() => call("save 1 --every soon")).toThrow("--every must be a duration");
});
