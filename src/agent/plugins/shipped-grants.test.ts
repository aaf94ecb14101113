/** What the shipped plugins get: enough to work, and nothing else. docs/permissions.md says the same. */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { parse } from "yaml";
import { type Grant, summaryOf } from "../../model/grant.ts";
import { decideGrant } from "../../model/grant-decision.ts";
import type { JsonObject } from "../../model/json.ts";
import { DEFAULT_POLICY, type Policy, policySchema } from "../../model/policy.ts";
import { readDefinition } from "../../sdk/definition.ts";
import { manifestOf } from "../../sdk/manifest.ts";
import { loadShipped } from "./shipped.ts";

const home = realpathSync(mkdtempSync(join(tmpdir(), "holdfast-shipped-")));
afterAll(() => rmSync(home, { recursive: true, force: true }));
for (const folder of ["config/certificates", "data/state", "scripts", "logs"])
  mkdirSync(join(home, folder), { recursive: true });
for (const file of ["scripts/run.sh", "restart.sh", "app.log"]) writeFileSync(join(home, file), "");

const realpath = (path: string) => {
  try {
    const real = realpathSync(path);
    const isFile = /\.(sh|log)$/.test(real);
    return { path: real, kind: isFile ? ("file" as const) : ("folder" as const) };
  } catch {
    return null;
  }
};

async function decide(id: string, settings: JsonObject, policy: Policy = DEFAULT_POLICY, canHide = true) {
  const manifest = manifestOf(readDefinition(await loadShipped(id)));
  const decision = decideGrant({
    ...manifest,
    settings,
    settingsSchema: manifest.settings,
    policy,
    canHide,
    places: {
      home,
      protectedWrite: [join(home, "config"), join(home, "data/state")],
      protectedRead: [join(home, "config/certificates"), join(home, "data/state")],
      protectedUnix: [],
    },
    realpath,
  });
  if (decision.kind === "refused") throw new Error(decision.reasons.join("\n"));
  return decision;
}

async function permissionsOf(id: string, settings: JsonObject, canHide = true) {
  const { grant } = await decide(id, settings, DEFAULT_POLICY, canHide);
  return JSON.parse(JSON.stringify(summaryOf(grant).permissions).replaceAll(home, "HOME")) as unknown;
}

test.each<[string, JsonObject, Record<string, string[]>]>([
  ["trigger/interval", { every: "1s" }, {}],
  ["trigger/disk", { path: "/", below: "5%" }, {}],
  ["trigger/file-tail", { path: "logs/x" }, { read: ["HOME/logs"] }],
  ["trigger/file-tail", { path: "app.log" }, { read: ["HOME"] }],
  ["trigger/file-tail", { path: "/no/such/folder/x.log" }, {}],
  ["trigger/http-probe", { url: "http://127.0.0.1:8080/x" }, { connect: ["127.0.0.1:8080"] }],
  [
    "trigger/webhook",
    { port: 9120, auth: "hmac", secret: "${{ secrets.HOOK }}" },
    { listen: ["9120"], secrets: ["*"] },
  ],
  [
    "trigger/webhook",
    {
      port: 9120,
      auth: "hmac",
      secret_file: "app.log",
      tls: { cert: "restart.sh", key: "${{ secrets.KEY }}" },
    },
    { listen: ["9120"], read: ["HOME/app.log", "HOME/restart.sh"], secrets: ["*"] },
  ],
  ["action/http", { url: "https://api.example.org/" }, { connect: ["api.example.org:443"], secrets: ["*"] }],
  ["action/http", { url: "${{ event.data.url }}" }, { secrets: ["*"] }],
  ["action/file", { path: "logs/new", do: "append" }, { write: ["HOME/logs"] }],
  ["action/file", { path: "new", do: "append" }, { write: ["HOME/new"] }],
  ["action/file", { path: "none/new", do: "append" }, {}],
  ["output/file", { path: "logs/new" }, { write: ["HOME/logs"] }],
  ["output/file", { path: "none/new" }, { write: ["HOME/none"] }],
  ["output/file", { path: "new" }, { write: ["HOME/new", "HOME/new.1"] }],
  ["action/exec", { command: "true" }, { read: ["@system"], exec: ["@system"] }],
  ["action/exec", { command: "nowhere.sh" }, { read: ["@system"], exec: ["@system"] }],
  [
    "action/exec",
    { command: ["scripts/run.sh", "-v"], cwd: "logs", write: ["app.log"], connect: ["a.org:80"] },
    {
      read: ["@system", "HOME/scripts", "HOME/logs"],
      write: ["HOME/app.log"],
      exec: ["@system", "HOME/scripts/run.sh"],
      connect: ["a.org:80"],
    },
  ],
])("%s %j", async (id, settings, permissions) => {
  expect(await permissionsOf(id, settings)).toEqual(permissions);
});

test("a file right in the home, where nothing can be covered: the file alone", async () => {
  expect(await permissionsOf("trigger/file-tail", { path: "app.log" }, false)).toEqual({
    read: ["HOME/app.log"],
  });
  const script = (await permissionsOf("action/exec", { command: "restart.sh" }, false)) as Grant;
  expect(script.read).toEqual(["@system", "HOME/restart.sh"]);
});

test("the policies of docs/sandbox.md let the shipped plugins that they name run", async () => {
  const page = await Bun.file(join(import.meta.dir, "../../../docs/sandbox.md")).text();
  for (const [, text] of page.matchAll(/^```yaml\n(.*?)^```/gms)) {
    const written = v.parse(policySchema, parse(text!));
    for (const name of written.plugins.allow) {
      const kind = ["exec", "http"].includes(name) ? "action" : "trigger";
      expect((await decide(`${kind}/${name}`, { command: "true" }, written)).kind).toBe("granted");
    }
  }
});
