import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { agentHome } from "../agent/config/home.ts";
import { changedSince } from "./config-changed.ts";

const base = mkdtempSync(join(tmpdir(), "holdfast-changed-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));

test("names the files that are younger than the agent", () => {
  const home = agentHome(base, "web-01");
  mkdirSync(home.confDir, { recursive: true });
  const site = join(home.confDir, "50-site.yaml");
  const at = (file: string, seconds: number) => {
    writeFileSync(file, "");
    utimesSync(file, seconds, seconds);
  };
  at(home.configFile, 100);
  at(site, 100);
  at(join(home.confDir, "50-site.yaml~"), 300);
  expect(changedSince(home, 200_000)).toBeNull();
  at(site, 300);
  expect(changedSince(home, 200_000)).toBe(
    `${site} was changed after agent web-01 started: restart the agent to use what is there now`,
  );
  at(home.policyFile, 300);
  expect(changedSince(home, 200_000)).toContain(`${site}, ${home.policyFile} were changed`);
});
