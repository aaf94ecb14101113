import { expect, test } from "bun:test";
import { pipeline, step } from "../../testing/definitions.ts";
import { failed, ok, runRig } from "../../testing/engine-rig.ts";

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

test("every trigger that waits for room goes on, also when none of them starts a run", async () => {
  const rig = runRig(pipeline([step("a")]), () => ok(), { maxOpenRuns: 1 });
  const id = rig.start();
  let went = 0;
  for (let trigger = 0; trigger < 5; trigger++) void rig.engine.room().then(() => went++);
  expect(went).toBe(0);
  await rig.ended(id);
  expect(went).toBe(5);
});
