import { expect, test } from "bun:test";
import type { Json } from "../../model/json.ts";
import type { MemoryRequest } from "../../model/memory-request.ts";
import { ActionError } from "../../sdk/holdfast.ts";
import { pluginMemory } from "./host-memory.ts";
import { parseUpFrame } from "./up-frame.ts";

/** An agent whose checkouts expire as often as is said. */
function agent(expires: number) {
  const asked: string[] = [];
  let value: Json = 1;
  let left = expires;
  const memory = pluginMemory(async (request: MemoryRequest): Promise<Json> => {
    asked.push(request.op);
    if (request.op === "checkout") return { token: 5, exists: true, value };
    if (request.op === "list")
      return { keys: [`${request.after}x`], next: request.after.length < 2 ? `${request.after}x` : null };
    if (request.op !== "update") return { held: true };
    if (left-- > 0) throw new ActionError("too late", { code: "expired" });
    value = request.value;
    return {};
  });
  return { asked, memory, value: () => value };
}

test("an update that came too late is made again, from what the others left; not for ever", async () => {
  const once = agent(1);
  expect(await once.memory.update("a", (n) => n + 1)).toBe(2);
  expect(once.asked).toEqual(["checkout", "update", "checkout", "update"]);
  const never = agent(100);
  expect(await never.memory.update("a", (n) => n + 1).catch((error: ActionError) => error.code)).toBe(
    "expired",
  );
  expect(never.asked).toHaveLength(20);
});

test("a change that throws, or changes nothing, gives the key back", async () => {
  const { memory, asked, value } = agent(0);
  expect(await memory.update("a", () => undefined)).toBe(1);
  const failing = memory.update("a", () => {
    throw new Error("no");
  });
  expect(await failing.catch((error: Error) => error.message)).toBe("no");
  expect(asked).toEqual(["checkout", "checkin", "checkout", "checkin"]);
  expect(value()).toBe(1);
});

test("a list comes page by page", async () => {
  expect(await agent(0).memory.list()).toEqual(["x", "xx", "xxx"]);
});

test("hostile frames are refused", () => {
  const frame = (more: object) =>
    parseUpFrame({ kind: "memory", id: 1, call: null, request: { op: "get", key: "a" }, ...more });
  expect(frame({ call: 7 })).toEqual({ kind: "memory", id: 1, call: 7, request: { op: "get", key: "a" } });
  for (const more of [
    { id: "1" },
    { call: "x" },
    { call: undefined },
    { request: null },
    { request: { op: "get", key: {} } },
  ])
    expect(() => frame(more), JSON.stringify(more)).toThrow();
  // What is not asked for does not come through.
  expect(frame({ request: { op: "get", key: "a", grant: ["*"] } })).toMatchObject({
    request: { op: "get", key: "a" },
  });
  expect(
    Object.keys((frame({ request: { op: "get", key: "a", grant: 1 } }) as { request: object }).request),
  ).toEqual(["op", "key"]);
});
