import { expect, test } from "bun:test";
import type { Json } from "../model/json.ts";
import { gapEvent, lostTriggers } from "./lost-triggers.ts";
import type { AgentStore } from "./store/port.ts";

function storeOf(movedTo: string | null, checkpoints: Record<string, Json> = {}) {
  const settings = new Map<string, Json>();
  const salvage = movedTo === null ? null : { movedTo, reason: "cut", salvaged: {} };
  return {
    facts: { epoch: "e", salvage } as AgentStore["facts"],
    checkpoints,
    setting: async (key: string) => settings.get(key),
    setSetting: async (key: string, value: Json) => void settings.set(key, value),
    checkpoint: async (name: string) => checkpoints[name],
  };
}

const names = async (store: ReturnType<typeof storeOf>, configured: string[]) => [
  ...(await lostTriggers(store, configured)),
];

test("none without a damaged store", async () => {
  expect(await names(storeOf(null), ["a", "b"])).toEqual([]);
});

test("all that were there when it was set aside, until each has a checkpoint again; none that came later", async () => {
  const store = storeOf("/x/agent.db.corrupt-1");
  expect(await names(store, ["a", "b"])).toEqual(["a", "b"]);
  store.checkpoints.a = { at: 1 };
  expect(await names(store, ["a", "b", "later"])).toEqual(["b"]);
  store.facts.salvage!.movedTo = "/x/agent.db.corrupt-2";
  delete store.checkpoints.a;
  expect(await names(store, ["a", "later"])).toEqual(["a", "later"]);
});

test("the gap has one id for one loss", () => {
  expect(gapEvent(storeOf("/x/agent.db.corrupt-1"), "a")).toMatchObject({
    id: "gap-agent.db.corrupt-1",
    type: "trigger.gap",
    subject: "a",
  });
});
