import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AgentHome, agentHome, prepareHome } from "../agent/config/home.ts";
import { settingsInProcess } from "./settings-process.ts";
import { readStartSettings } from "./start-settings.ts";

let home: AgentHome;

beforeEach(() => {
  home = agentHome(mkdtempSync(join(tmpdir(), "holdfast-settings-")), "web-01");
  prepareHome(home);
});
afterEach(() => rmSync(home.base, { recursive: true, force: true }));

const question = (flags: Record<string, string> = {}) => ({ base: home.base, id: home.id, flags });

test("another process reads what this one would have read", async () => {
  writeFileSync(
    home.configFile,
    'agent: { id: web-01 }\nlog: { level: "${HOLDFAST_TEST_LEVEL:-warn}" }\n' +
      "triggers:\n  - { name: tail, plugin: file-tail, with: { path: /ö, more: { deep: [1, 1.5, null, true] } } }\n",
  );
  writeFileSync(home.policyFile, "sandbox: strict\n");
  const asked = question({ "health.listen": "127.0.0.1:0" });
  const answer = await settingsInProcess(asked);
  expect(answer).toEqual(await readStartSettings(asked));
  expect(answer).toMatchObject({
    config: { log: { level: "warn" }, health: { listen: "127.0.0.1:0" } },
    policy: { problem: null, sandbox: "strict" },
  });
});

test("what is wrong is refused with the same words", async () => {
  writeFileSync(home.configFile, "agent: { id: web-01 }\nlog: { level: lodu }\ntriggerz: []\n");
  const refusal = await readStartSettings(question()).catch((error: unknown) => error);
  const answer = await settingsInProcess(question()).catch((error: unknown) => error);
  expect(answer).toMatchObject({ code: "invalid", message: (refusal as Error).message });
  expect((answer as Error).message).toContain("the configuration has 2 problems");
});

test("a process that cannot answer costs only time", async () => {
  const bad = { ...question(), id: "?" };
  await expect(settingsInProcess(bad)).rejects.toMatchObject({ code: "invalid" });
});

test("a policy with problems lets nothing run, and does not keep the agent from starting", async () => {
  writeFileSync(home.policyFile, "sandbox: onn\n");
  const { policy } = await settingsInProcess(question());
  expect(policy.problem).toContain("1 problem");
});
