import { expect, test } from "bun:test";
import { VirtualClock } from "../../testing/virtual-clock.ts";
import type { SetParameter } from "../../model/shared-parameter.ts";
import { fixedParameters } from "./fixed-parameters.ts";
import { type ParameterStorePort, Parameters } from "./parameters.ts";

function memoryStore(): ParameterStorePort & { rows: Map<string, SetParameter> } {
  const rows = new Map<string, SetParameter>();
  const idOf = (namespace: string | null, name: string) => `${namespace} ${name}`;
  return {
    rows,
    parameters: async () => [...rows.values()],
    setParameter: async (each) => void rows.set(idOf(each.namespace, each.name), each),
    removeParameter: async (namespace, name) => rows.delete(idOf(namespace, name)),
  };
}

const FIXED = fixedParameters({
  params: {
    global: { region: "eu", key: { value: "abc", secret: true }, map: { value: { a: 1 }, secret: false } },
    namespaces: { web: { region: "eu-web" } },
  },
});
const open = async (store = memoryStore()) => {
  const facts = { agent_id: "web-01", region: "nowhere" };
  const parameters = new Parameters({ store, fixed: FIXED, facts, clock: new VirtualClock() });
  await parameters.start();
  return parameters;
};
const by = { secret: false, changedBy: "local:0" };

test("each layer wins over the one before it", async () => {
  const parameters = await open();
  const region = (namespace: string) => parameters.json(namespace).region;
  expect([region("web"), region("db")]).toEqual(["eu-web", "eu"]);
  await parameters.set({ namespace: null, name: "region", value: "set", ...by });
  expect([region("web"), region("db")]).toEqual(["eu-web", "set"]);
  await parameters.set({ namespace: "web", name: "region", value: "set-web", ...by });
  expect([region("web"), region("db")]).toEqual(["set-web", "set"]);
  expect(parameters.list("web", false).filter(({ name }) => name === "region")).toMatchObject([
    { value: "nowhere", source: "agent" },
    { value: "eu", source: "configuration, global" },
    { value: "set", source: "set, global" },
    { value: "eu-web", source: "configuration, namespace" },
    { value: "set-web", source: "set, namespace" },
  ]);
  expect(parameters.list("web", true).map(({ name, source }) => [name, source])).toEqual([
    ["agent_id", "agent"],
    ["key", "configuration, global"],
    ["map", "configuration, global"],
    ["region", "set, namespace"],
  ]);
  expect(await parameters.remove("web", "region")).toBe(true);
  expect(await parameters.remove("web", "region")).toBe(false);
  expect(region("web")).toBe("eu-web");
  expect(parameters.json("web").map).toEqual({ a: 1 });
});

test("what is set survives; what is secret is shown to nobody, and found by runs", async () => {
  const store = memoryStore();
  const first = await open(store);
  await first.set({
    namespace: "web",
    name: "token",
    value: "t0ken-value",
    secret: false,
    changedBy: "local:7",
  });
  const second = await open(store);
  expect(second.json("web")).toMatchObject({ token: "t0ken-value", key: "abc" });
  const shown = JSON.stringify([second.list("web", false), second.list(undefined, true)]);
  expect(shown).not.toContain("t0ken-value");
  expect(shown).not.toContain("abc");
  expect(second.list("web", true).find(({ name }) => name === "token")).toMatchObject({
    ...{ value: "***", changedBy: "local:7" },
  });
});

test("bad names and values are refused", async () => {
  const parameters = await open();
  const set = (name: string, value: unknown) =>
    parameters.set({ namespace: null, name, value: value as never, ...by }).then(
      () => "done",
      (error: { code: string }) => error.code,
    );
  for (const name of ["", "a b", "1a", "a-b", "x".repeat(65)])
    expect(await set(name, 1), name).toBe("invalid");
  expect(await set("a", null)).toBe("invalid");
  expect(await set("a", "x".repeat(17_000))).toBe("too_large");
});
