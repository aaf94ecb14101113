import { expect, test } from "bun:test";
import { fitsAny, namespaceProblem, pluginNamespace } from "./namespace.ts";

test("names of namespaces; the agent's own is nobody else's", () => {
  for (const name of ["default", "web", "a", "web.front:eu-1", "9", "holdfast-web"])
    expect(namespaceProblem(name), name).toBeNull();
  for (const name of ["", " ", "a b", "-a", ".a", "../a", "ä", "a/b", "x".repeat(129)])
    expect(namespaceProblem(name), name).toContain("a namespace: letters");
  expect(namespaceProblem("holdfast")).toContain("the agent's own");
});

test("a plugin's namespace is its name, unless its grant names another", () => {
  expect(pluginNamespace("counter", [])).toBe("counter");
  expect(pluginNamespace("counter", ["shared"])).toBe("shared");
  expect(pluginNamespace("counter", ["web-*", "shared"])).toBe("shared");
  expect(pluginNamespace("counter", ["web-*"])).toBe("counter");
  expect(pluginNamespace("counter", ["holdfast"])).toBe("counter");
  expect(pluginNamespace("holdfast", [])).toBe("plugin.holdfast");
});

test("patterns", () => {
  expect(fitsAny("a", [])).toBe(false);
  expect(fitsAny("a", ["b", "*"])).toBe(true);
  expect(fitsAny("front.count", ["front.*"])).toBe(true);
  expect(fitsAny("front", ["front.*"])).toBe(false);
});
