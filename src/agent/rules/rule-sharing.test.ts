import { expect, test } from "bun:test";
import { rule, RuleRig } from "../../testing/rule-rig.ts";

test("a rule sees the memory of its namespace, as it is at the event", () => {
  const memory: Record<string, Record<string, unknown>> = { default: { limit: 3n }, web: { limit: 5n } };
  const rig = new RuleRig(
    [
      rule("default", { when: "event.data.n > memory.limit" }),
      rule("web", { when: "event.data.n > memory.limit", namespace: "web" }),
      rule("window", {
        namespace: "web",
        window: { overMs: 60_000, compute: "count", of: null, is: "window.count >= memory.limit" },
      }),
      rule("absent", { when: "memory.nothing == 1", namespace: "db" }),
    ],
    { memory: (namespace) => memory[namespace] ?? {} },
  );
  expect(rig.feed({ data: { n: 4 } })).toEqual(["default"]);
  expect(rig.feed({ data: { n: 6 } })).toEqual(["default", "web"]);
  memory.web = { limit: 2n };
  expect(rig.feed({ data: { n: 3 } })).toEqual(["web", "window"]);
  expect(rig.rules.list().find(({ name }) => name === "absent")!.counters).toMatchObject({
    skipped: 3,
    errors: 0,
  });
});
