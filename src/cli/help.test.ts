import { expect, test } from "bun:test";
import { root } from "./cli.ts";
import { usageProblem } from "./help.ts";

test("a wrong command line is answered with the nearest command and the help of the one that was meant", async () => {
  const unknown = "Unknown command x";
  expect(await usageProblem(root, ["runs", "shw", "abc"], "Unknown command shw")).toBe(
    "Unknown command shw: did you mean show? See holdfast runs --help.",
  );
  expect(await usageProblem(root, ["qqqqqq"], unknown)).toBe("Unknown command x. See holdfast --help.");
  expect(await usageProblem(root, ["runs", "show"], "Missing required positional argument: RUN.")).toBe(
    "Missing required positional argument: RUN. See holdfast runs show --help.",
  );
});
