import { expect, test } from "bun:test";
import { matcher } from "./control-routes.ts";
import type { ControlRoutes } from "./control-request.ts";

const find = matcher({
  "/v1/runs": { GET: () => "list" },
  "/v1/runs/:run": { GET: () => "one" },
  "/v1/runs/latest": { GET: () => "latest" },
  "/v1/runs/:run/steps/:step/decision": { POST: () => "decided" },
} satisfies ControlRoutes);
const found = (path: string): Record<string, string> | null => {
  const route = find(path);
  return route && { ...route.params, methods: Object.keys(route.methods).join() };
};

test("a path leads to its route, with what its names stand for", () => {
  expect(found("/v1/runs")).toEqual({ methods: "GET" });
  expect(found("/v1/runs/r-1/steps/a/decision")).toEqual({ run: "r-1", step: "a", methods: "POST" });
  expect(find("/v1/runs/r-1/steps/a/decision")!.methods.POST!(null as never)).toBe("decided");
});

test("a part that is named goes before any other", () => {
  expect(find("/v1/runs/latest")!.methods.GET!(null as never)).toBe("latest");
  expect(find("/v1/runs/latest1")!.methods.GET!(null as never)).toBe("one");
});

test.each(["/", "/v1", "/v1/runs/", "/v1//r-1", "/v1/runs/r-1/steps", "/v2/runs", "/v1/Runs"])(
  "nothing is at %s",
  (path) => expect(find(path)).toBeNull(),
);

test("names are decoded, each part for itself; what cannot be decoded stays", () => {
  expect(found("/v1/runs/a%2Fb%20%C3%B6")).toEqual({ run: "a/b ö", methods: "GET" });
  expect(found("/v1/runs/100%")).toEqual({ run: "100%", methods: "GET" });
});
