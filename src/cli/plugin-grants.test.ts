import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { agentHome, prepareHome } from "../agent/config/home.ts";
import { type PermissionsInput, permissionsSchema } from "../model/permissions.ts";
import type { CatalogPlugin } from "../model/plugin.ts";
import { type HostGrants, openGrants } from "./plugin-grants.ts";

let base: string;
let grants: HostGrants;
beforeAll(async () => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "holdfast-grants-")));
  const home = agentHome(base, "web-01");
  prepareHome(home);
  grants = await openGrants(home);
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

function plugin(name: string, permissions: PermissionsInput): CatalogPlugin {
  const manifest = { name, kind: "action", description: "", settings: {}, resources: {} } as const;
  return {
    manifest: { ...manifest, permissions: v.parse(permissionsSchema, permissions) },
    entry: { file: "/plugins/x.ts" },
  };
}

function grantOf(of: CatalogPlugin, settings: Record<string, string>) {
  const decision = grants.decide(of, settings);
  if (decision.kind === "refused") throw new Error(decision.reasons.join("; "));
  return decision.grant;
}

test("a wish that neither settings nor links can change is decided once", () => {
  const fixed = plugin("fixed", { connect: ["example.org:443"], env: ["LANG"] });
  expect(grantOf(fixed, { x: "2" })).toBe(grantOf(fixed, { x: "1" }));
  expect(grantOf(fixed, {}).connect).toEqual([{ host: "example.org", port: 443 }]);
  expect(grantOf(plugin("other", {}), {})).not.toBe(grantOf(fixed, {}));
});

test("what settings name is decided each time", () => {
  const calls = plugin("calls", { connect: ["${endpoint(settings.url)}"] });
  const hostOf = (url: string) => grantOf(calls, { url }).connect.map(({ host }) => host);
  expect([hostOf("http://a.org"), hostOf("http://b.org")]).toEqual([["a.org"], ["b.org"]]);
});

test("a path is looked at each time: its links may have changed", () => {
  const [first, second, link] = ["first", "second", "link"].map((name) => join(base, name)) as [
    string,
    string,
    string,
  ];
  for (const folder of [first, second]) mkdirSync(folder);
  const reads = plugin("reads", { read: [link] });
  symlinkSync(first, link);
  expect(grantOf(reads, {}).read).toEqual([first]);
  unlinkSync(link);
  symlinkSync(second, link);
  expect(grantOf(reads, {}).read).toEqual([second]);
});
