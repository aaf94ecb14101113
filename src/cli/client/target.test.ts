import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HoldfastError } from "../../core/errors.ts";
import { resolveTarget, type TargetOptions } from "./target.ts";

const TOKEN = "hfadm_0123456789abcdef";
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-target-"));
  writeFileSync(join(folder, "token"), `${TOKEN}file\n`);
  writeFileSync(join(folder, "empty"), "\n");
  for (const name of ["up", "stopped", "damaged", "foreign", "no-token"]) {
    mkdirSync(join(folder, name, "hub"), { recursive: true });
    if (name !== "no-token") writeFileSync(join(folder, name, "hub", "admin.token"), `${TOKEN}${name}\n`);
  }
  const run = (name: string, value: unknown) =>
    writeFileSync(
      join(folder, name, "hub", "run.json"),
      typeof value === "string" ? value : JSON.stringify(value),
    );
  run("up", { pid: 77, api: "http://127.0.0.1:8442", grpc: "x", health: "y" });
  run("damaged", "{");
  run("foreign", { api: "http://hub.example:8442" });
  run("no-token", { pid: 77, api: "http://127.0.0.1:8442" });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function target(options: Partial<TargetOptions>) {
  return resolveTarget({ env: { HOME: folder }, uid: 1000, isAlive: (pid) => pid === 77, ...options });
}

function failure(options: Partial<TargetOptions>): HoldfastError {
  try {
    target(options);
  } catch (error) {
    return error as HoldfastError;
  }
  throw new Error("it did not fail");
}

describe("which hub", () => {
  test("--hub with --token-file", () => {
    const found = target({ hub: "https://hub.example:8442/api/v1/", tokenFile: join(folder, "token") });
    expect(found).toMatchObject({ url: "https://hub.example:8442", token: `${TOKEN}file` });
    expect(found.source).not.toContain(TOKEN);
  });

  test("the environment, with the token or its file", () => {
    const env = { HOME: folder, HOLDFAST_HUB_URL: "https://hub.example", HOLDFAST_TOKEN: TOKEN };
    expect(target({ env })).toMatchObject({ url: "https://hub.example", token: TOKEN });
    const byFile = { ...env, HOLDFAST_TOKEN: undefined, HOLDFAST_TOKEN_FILE: join(folder, "token") };
    expect(target({ env: byFile }).token).toBe(`${TOKEN}file`);
  });

  test("a hub under --home goes before the environment; --token-file before its own token", () => {
    const env = { HOME: folder, HOLDFAST_HUB_URL: "https://hub.example", HOLDFAST_TOKEN: TOKEN };
    expect(target({ env, home: join(folder, "up") })).toMatchObject({
      url: "http://127.0.0.1:8442",
      token: `${TOKEN}up`,
    });
    const named = target({ home: join(folder, "up"), tokenFile: join(folder, "token") });
    expect(named.token).toBe(`${TOKEN}file`);
  });

  test("the token of the environment goes to the hub of the environment only", () => {
    const env = { HOLDFAST_HUB_URL: "https://hub.example", HOLDFAST_TOKEN: TOKEN };
    expect(target({ env, hub: "https://hub.example/" }).token).toBe(TOKEN);
    expect(failure({ env, hub: "https://other.example" })).toMatchObject({ code: "unauthenticated" });
    expect(target({ env: { HOLDFAST_TOKEN: TOKEN }, hub: "https://other.example" }).token).toBe(TOKEN);
  });

  test.each([
    ["http://hub.example:8442", "denied", "plain http"],
    ["http://10.0.0.1", "denied", "https://"],
    ["http://localhost.evil.example", "denied", "plain http"],
    ["http://127.0.0.1.evil.example", "denied", "plain http"],
    ["grpcs://hub.example:8443", "usage", "https://"],
    ["hub.example", "usage", "URL"],
    ["https://me:pw@hub.example", "usage", "--token-file"],
    ["https://hub.example/?token=x", "usage", "?"],
  ])("--hub %s is refused", (hub, code, words) => {
    const error = failure({ hub, tokenFile: join(folder, "token") });
    expect(error.code as string).toBe(code);
    expect(error.message).toContain(words);
    expect(error.message).not.toContain("pw@");
  });

  test.each(["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"])("%s may be plain http", (hub) => {
    expect(target({ hub, tokenFile: join(folder, "token") }).url).toBe(hub);
  });
});

describe("no hub", () => {
  test("nothing there: not found, and what to do", () => {
    const error = failure({ home: join(folder, "nowhere") });
    expect(error.code).toBe("not_found");
    expect(error.message).toContain("holdfast up");
    expect(error.message).toContain("--hub");
  });

  test("there, but not running, or killed: unreachable", () => {
    expect(failure({ home: join(folder, "stopped") })).toMatchObject({ code: "unreachable" });
    const killed = failure({ home: join(folder, "up"), isAlive: () => false });
    expect(killed).toMatchObject({ code: "unreachable" });
    expect(killed.message).toContain("hub run");
  });

  test("damaged or dangerous files, missing and empty tokens", () => {
    expect(failure({ home: join(folder, "damaged") }).message).toContain("run.json");
    expect(failure({ home: join(folder, "foreign") })).toMatchObject({ code: "denied" });
    expect(failure({ home: join(folder, "no-token") }).message).toContain("--token-file");
    expect(failure({ hub: "https://h", tokenFile: join(folder, "missing") })).toMatchObject({
      code: "not_found",
    });
    expect(failure({ hub: "https://h", tokenFile: join(folder, "empty") })).toMatchObject({ code: "usage" });
    expect(failure({ hub: "https://h", tokenFile: "/dev/zero" })).toMatchObject({ code: "too_large" });
    expect(failure({ hub: "https://h", home: folder })).toMatchObject({ code: "usage" });
    expect(failure({ hub: "https://h" })).toMatchObject({ code: "unauthenticated" });
  });

  test("a token that this user may not read", () => {
    const path = join(folder, "secret");
    writeFileSync(path, TOKEN);
    chmodSync(path, 0);
    const isRoot = process.getuid?.() === 0;
    // Root reads everything: for this one call it is somebody else.
    if (isRoot) process.seteuid?.(65534);
    try {
      expect(failure({ hub: "https://h", tokenFile: path })).toMatchObject({ code: "denied" });
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });
});
