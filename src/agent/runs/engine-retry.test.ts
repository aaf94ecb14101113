import { expect, test } from "bun:test";
import { pipeline, step } from "../../testing/definitions.ts";
import { failed, ok, runRig } from "../../testing/engine-rig.ts";
import { settled } from "../../testing/virtual-clock.ts";

test("a step without any wait between its attempts is tried again at once, and can be cancelled then", async () => {
  const retry = { attempts: 100, kind: "fixed" as const, initialMs: 0, maxMs: 1000 };
  let tries = 0;
  const rig = runRig(pipeline([step("a", { retry })]), () => (++tries < 50 ? failed(false) : ok()));
  expect((await rig.ended(rig.start())).run.state).toBe("succeeded");
  expect(tries).toBe(50);
  const hanging = runRig(pipeline([step("a", { retry })]), ({ attempt }, signal) => {
    if (attempt < 3) return failed(false);
    return new Promise((resolve) => signal.addEventListener("abort", () => resolve(failed(true))));
  });
  const id = hanging.start();
  await hanging.until("the third attempt", () => hanging.calls.length === 3);
  await hanging.engine.cancel(id, "local:0", "why");
  expect((await hanging.ended(id)).run.state).toBe("cancelled");
});

test("a word of a person that the agent's end cut off is answered with an error", async () => {
  const rig = runRig(pipeline([step("a")]), (_call, signal) => {
    return new Promise((resolve) => signal.addEventListener("abort", () => resolve(failed(true))));
  });
  const id = rig.start();
  await settled();
  rig.store.failNext = 1_000;
  let told = "";
  void rig.engine.cancel(id, "local:0", "why").catch((error: Error) => (told = error.message));
  await rig.clock.advance(2_000);
  const stopped = rig.engine.stop(1_000);
  await rig.clock.advance(2_000);
  await stopped;
  expect(told).toStartWith(`the agent stopped before a change of run ${id} could be stored: no space`);
  expect(rig.states(id)).toEqual(["a running"]);
});

test("every trigger that waits for room goes on, also when none of them starts a run", async () => {
  const rig = runRig(pipeline([step("a")]), () => ok(), { maxOpenRuns: 1 });
  const id = rig.start();
  let went = 0;
  for (let trigger = 0; trigger < 5; trigger++) void rig.engine.room().then(() => went++);
  expect(went).toBe(0);
  await rig.ended(id);
  expect(went).toBe(5);
});
