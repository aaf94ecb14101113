import { expect, test } from "bun:test";
import { bareGrant } from "../../../model/grant.ts";
import type { JsonObject } from "../../../model/json.ts";
import { DEFAULT_RESOURCES } from "../../../model/permissions.ts";
import { scriptEnvironment, secretFileTexts } from "./script-environment.ts";

const environment = (settings: JsonObject, env: Record<string, string> = {}, granted: string[] = []) =>
  scriptEnvironment({
    script: { folder: "/p", entry: "/p/x", mode: "once", plain: false, env },
    grant: { ...bareGrant(DEFAULT_RESOURCES), env: granted },
    agent: { id: "a", labels: {}, home: "/h" },
    part: "n",
    settings,
    hostEnv: { GIVEN: "yes", OTHER: "no" },
    call: { KEY: "k" },
  });

test("what is granted, declared and asked for; the agent's own names win", () => {
  expect(
    environment({ a: 1 }, { FIXED: "x", HOLDFAST_KEY: "forged" }, ["GIVEN", "ABSENT", "__proto__"]),
  ).toEqual({
    GIVEN: "yes",
    FIXED: "x",
    HOLDFAST_INPUT_A: "1",
    HOLDFAST_AGENT: "a",
    HOLDFAST_HOME: "/h",
    HOLDFAST_NAME: "n",
    HOLDFAST_PLUGIN_DIR: "/p",
    HOLDFAST_KEY: "k",
  });
});

test("names become variables' names; secrets, zero bytes and what is too long stay out", () => {
  const settings = {
    "with-dash.and dot": "x",
    password: "p",
    nested: { api_key: "k" },
    fine: { key: "k" },
    zero: "a\0b",
    long: "x".repeat(20_000),
    nothing: null,
  };
  const inputs = Object.entries(environment(settings)).filter(([name]) => name.startsWith("HOLDFAST_INPUT_"));
  expect(Object.fromEntries(inputs)).toEqual({
    HOLDFAST_INPUT_WITH_DASH_AND_DOT: "x",
    HOLDFAST_INPUT_FINE: '{"key":"k"}',
  });
});

test("a setting with a secret is there only when that secret is granted to the environment; a file has it in any case", () => {
  const settings = { token: "t0k3n", header: ["Bearer s3cr3t"], both: "t0k3n s3cr3t", plain: "x" };
  const held = { token: ["TOKEN"], header: ["OTHER"], both: ["TOKEN", "OTHER"] };
  const inputs = (secretEnv: string[]) => {
    const env = scriptEnvironment({
      script: { folder: "/p", entry: "/p/x", mode: "once", plain: false, env: {} },
      grant: { ...bareGrant(DEFAULT_RESOURCES), secretEnv },
      ...{ agent: { id: "a", labels: {}, home: "/h" }, part: "n", hostEnv: {}, settings, held },
      isSecret: (text) => /t0k3n|s3cr3t/.test(text),
    });
    const given = Object.entries(env).filter(([name]) => name.startsWith("HOLDFAST_INPUT_"));
    return Object.fromEntries(given.map(([name, value]) => [name.slice(15), value]));
  };
  expect(inputs([])).toEqual({ PLAIN: "x" });
  expect(inputs(["TOKEN"])).toEqual({ PLAIN: "x", TOKEN: "t0k3n" });
  expect(inputs(["*"])).toEqual({
    ...{ PLAIN: "x", TOKEN: "t0k3n", HEADER: '["Bearer s3cr3t"]', BOTH: "t0k3n s3cr3t" },
  });
  expect(secretFileTexts(settings, held)).toEqual({
    HOLDFAST_INPUT_TOKEN_FILE: "t0k3n",
    HOLDFAST_INPUT_HEADER_FILE: '["Bearer s3cr3t"]',
    HOLDFAST_INPUT_BOTH_FILE: "t0k3n s3cr3t",
  });
});

test("never more than the kernel takes", () => {
  const many = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`k${n}`, "x".repeat(16_000)]));
  const size = Object.entries(environment(many)).reduce(
    (sum, [name, value]) => sum + name.length + value.length,
    0,
  );
  expect(size).toBeLessThan(300_000);
});
