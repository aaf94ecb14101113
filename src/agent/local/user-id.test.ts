import { expect, test } from "bun:test";
import { localUserId } from "./user-id.ts";

test("root is 0 everywhere, and who is not there has no number", () => {
  expect(localUserId("root")).toBe(0);
  expect(localUserId("")).toBeUndefined();
  expect(localUserId("nobody-has-this-name")).toBeUndefined();
});
