import { expect, test } from "bun:test";
import { HoldfastError } from "../core/errors.ts";
import { oneOf } from "./strict-args.ts";

test("a word that is none of the known ones is a usage error that names them", () => {
  expect(oneOf("state", undefined, ["open", "resolved"])).toBeUndefined();
  expect(oneOf("state", "open", ["open", "resolved"])).toBe("open");
  const wrong = () => oneOf("state", "opne", ["open", "resolved"]);
  expect(wrong).toThrow(
    new HoldfastError("usage", '--state must be one of open, resolved, not "opne"; did you mean open?'),
  );
});
