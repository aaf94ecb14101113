import { expect, test } from "bun:test";
import { testCommand } from "../../../testing/stage-one-rig.ts";
import { probeKernel } from "./probe.ts";
import { probeInProcess } from "./probe-process.ts";

test("another process finds what this one finds", async () => {
  expect(await probeInProcess(testCommand())).toEqual(await probeKernel(testCommand()));
});

test("what is no probe is not believed", async () => {
  // Ends with 0 and says nothing, ends with 1, says something else, is not there.
  for (const command of [["/bin/true"], ["/bin/false"], ["/bin/echo"], ["/nowhere/holdfast"]]) {
    const facts = await probeInProcess(command);
    expect(facts).toMatchObject({ landlockAbi: 0, seccomp: false, mountNamespace: false });
    expect(facts.reasons.seccomp).toBeString();
  }
});
