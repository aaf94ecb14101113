import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

setDefaultTimeout(120_000);

const executable = process.env.HOLDFAST_TEST_EXECUTABLE;
const HOLDFAST =
  executable === undefined
    ? [process.execPath, new URL("../main.ts", import.meta.url).pathname]
    : [executable];

const CONFIG = `
triggers: [{ name: watching, plugin: watcher, with: { token: "Bearer \${{ secrets.API_TOKEN }}" } }]
pipelines:
  show: { namespace: web, steps: [{ id: a, action: leaky, with: { do: echo, text: "Bearer \${{ secrets.API_TOKEN }}", url: "http://x/\${{ secrets.QUOTED }}" } }] }
  length: { namespace: web, steps: [{ id: a, action: leaky, with: { do: length, text: "\${{ secrets.API_TOKEN }}" } }] }
  fail: { namespace: web, steps: [{ id: a, action: leaky, with: { do: fail, text: "\${{ secrets.API_TOKEN }}" } }] }
  wrong: { namespace: web, steps: [{ id: a, action: leaky, with: { do: "\${{ secrets.API_TOKEN }}", text: x } }] }
  add: { namespace: web, steps: [{ id: a, action: leaky, with: { do: add, text: "\${{ secrets.API_TOKEN }}" } }] }
  remember: { namespace: web, steps: [{ id: a, action: leaky, with: { do: remember, text: "\${{ secrets.API_TOKEN }}" } }] }
  other: { namespace: web, steps: [{ id: a, action: leaky, with: { do: length, text: "\${{ secrets.FORBIDDEN }}" } }] }
  unset: { namespace: web, steps: [{ id: a, action: leaky, with: { do: length, text: "\${{ secrets.MISSING }}" } }] }
  script: { namespace: web, steps: [{ id: a, action: sh-leaky, with: { text: "\${{ secrets.API_TOKEN }}" } }] }
  dead: { namespace: web, steps: [{ id: a, action: leaky, with: { do: fail, text: "\${{ secrets.QUOTED }}" } }], on_failure: [{ id: b, action: leaky, with: { do: echo, text: "\${{ failure.message }}" } }] }
`;
const LEAKY = `import { defineAction, v } from "holdfast";
import { writeSync } from "node:fs";
export default defineAction({
  name: "leaky", description: "says what it should not",
  settings: v.strictObject({ do: v.picklist(["echo", "length", "fail", "add", "remember"]), text: v.string(), url: v.optional(v.string()) }),
  permissions: { secrets: ["API_TOKEN", "QUOTED", "MISSING"], memory: ["*"] },
  async run({ settings: { do: what, text, url }, log, memory, add, finally: last }) {
    const forms = [text, url, btoa(unescape(encodeURIComponent(text))), Buffer.from("user:" + text).toString("base64url"), encodeURIComponent(text), JSON.stringify({ text }), Buffer.from(text).toString("hex")];
    if (what === "length") return text.length;
    for (const form of forms) { log.info("told: " + form, { form: String(form) }); console.log(form); writeSync(2, form + "\\n"); }
    if (what === "fail") throw new Error("could not use " + forms.join(" "));
    if (what === "add") { await last("leaky", { do: "length", text }); return null; }
    if (what === "remember") { await memory.set("kept", forms); return await memory.get("kept"); }
    return { forms, [text]: 1 };
  },
});`;
const WATCHER = `import { defineTrigger, v } from "holdfast";
export default defineTrigger({
  name: "watcher", description: "tells how long its token is, and the token", settings: v.strictObject({ token: v.string() }),
  permissions: { secrets: ["API_*"] },
  async *run({ settings: { token }, clock, signal }) {
    yield { type: "watched", subject: token, data: { length: token.length, token, deep: [{ [token]: btoa(token) }] } };
    for await (const _ of clock.every(1000, signal));
  },
});`;
const SH = `#!/bin/sh
input=$(cat)
env
echo "$input" >&2
echo "$input"
case "$input" in *"$(printf 's3cr3t')"*) exit 0;; esac
exit 1
`;
const SECRETS: Record<string, string> = {
  API_TOKEN: "s3cr3t-token/with+chars=",
  QUOTED: 'qu"oted\\ vä\\lue & more',
  FORBIDDEN: "forbidden-value-123",
};

let agent: CliAgent;
let root: string;
beforeAll(async () => {
  agent = await cliAgent(CONFIG);
  root = join(agent.base, `agent-${agent.id}`);
  const plugins = join(root, "data", "plugins");
  mkdirSync(join(plugins, "leaky"), { recursive: true });
  writeFileSync(join(plugins, "leaky", "plugin.ts"), LEAKY);
  mkdirSync(join(plugins, "watcher"));
  writeFileSync(join(plugins, "watcher", "plugin.ts"), WATCHER);
  mkdirSync(join(plugins, "sh-leaky"));
  writeFileSync(join(plugins, "sh-leaky", "leak.sh"), SH);
  chmodSync(join(plugins, "sh-leaky", "leak.sh"), 0o755);
  writeFileSync(
    join(plugins, "sh-leaky", "plugin.yaml"),
    `name: sh-leaky
kind: action
runtime: exec
description: says what it should not
entry: leak.sh
settings: { properties: { text: { type: string } } }
permissions: { read: ['@system'], exec: ['@system'], secrets: [API_TOKEN] }
`,
  );
  await agent.stop();
  await agent.start();
});
afterAll(() => agent.close());

/** A command that reads this on its standard input. */
async function fed(input: string, args: string[]) {
  const child = Bun.spawn([...HOLDFAST, ...args, "--home", agent.base, "--id", agent.id], {
    env: { PATH: process.env.PATH, HOME: agent.base },
    ...{ stdin: new Blob([input]), stdout: "pipe", stderr: "pipe" },
  });
  const [out, err, exit] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { out, err, exit };
}

/** In which of these forms the secrets stand in a text. */
function found(text: string): string[] {
  return Object.entries(SECRETS).flatMap(([name, value]) => {
    const forms: Record<string, string> = {
      clear: value,
      json: JSON.stringify(value).slice(1, -1),
      base64: Buffer.from(value).toString("base64").slice(0, -4),
      base64url: Buffer.from(value).toString("base64url").slice(0, -4),
      // As it comes after a name and a colon.
      basic: Buffer.from(`user:${value}`).toString("base64").slice(8, -4),
      url: encodeURIComponent(value),
      hex: Buffer.from(value).toString("hex"),
    };
    return Object.entries(forms).flatMap(([form, each]) => (text.includes(each) ? [`${name} ${form}`] : []));
  });
}

function sweep(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sweep(path);
    if (!entry.isFile()) return [];
    const bytes = readFileSync(path);
    // Text as UTF-8, and whatever else as bytes.
    return [...new Set([...found(bytes.toString("utf8")), ...found(bytes.toString("latin1"))])].map(
      (what) => `${path}: ${what}`,
    );
  });
}

test("set from standard input or a terminal, listed by name, and sealed under a key of the home", async () => {
  for (const [name, value] of Object.entries(SECRETS)) {
    const { exit, out, err } = await fed(`${value}\n`, ["secret", "set", name, "--namespace", "web"]);
    expect([exit, out, err]).toEqual([0, `Secret ${name} is set for namespace web.\n`, ""]);
  }
  const { out } = await agent.cli(["secret", "list"]);
  expect(out).toMatch(/^API_TOKEN +web +now by local:\d+ +ok$/m);
  expect(found(out)).toEqual([]);
  expect(statSync(join(root, "config", "secrets.key")).mode & 0o777).toBe(0o600);
  expect(await fed("", ["secret", "set", "EMPTY"])).toMatchObject({ exit: 2 });
  expect(await fed("x", ["secret", "set", "bad name"])).toMatchObject({ exit: 1 });
  expect((await agent.cli(["secret", "set", "NAME", "value-on-the-command-line"])).exit).toBe(2);
});

test("a plugin gets what it was granted, and nothing that it says of it gets out", async () => {
  const shown: string[] = [];
  const run = async (pipeline: string) => {
    const { exit, out, err } = await agent.cli(["run", pipeline, "--json"]);
    const { id } = JSON.parse(out.trim().split("\n").at(-1)!) as { id: string };
    const detail = (await agent.cli(["runs", "show", id, "--json"])).out;
    shown.push(out, err, detail);
    return { exit, detail, step: JSON.parse(detail).steps[0] };
  };
  expect((await run("length")).step.output).toBe(SECRETS.API_TOKEN!.length);
  expect((await run("show")).step.output.forms[0]).toBe("Bearer ***");
  expect((await run("fail")).exit).toBe(1);
  expect((await run("wrong")).step.error.message).toContain("***");
  expect((await run("add")).exit).toBe(0);
  expect((await run("remember")).exit).toBe(0);
  expect((await run("other")).step.error).toMatchObject({ code: "denied" });
  expect((await run("unset")).step.error.message).toContain("secret MISSING is not set for namespace web");
  const script = await run("script");
  expect(script.detail).toContain("***");
  expect(script.exit).toBe(0);
  expect((await run("dead")).exit).toBe(1);
  for (const args of [
    ["dead", "list"],
    ["events", "list"],
    ["runs", "list"],
    ["agent", "status"],
    ["param", "list"],
  ])
    shown.push((await agent.cli([...args, "--json"])).out);
  shown.push((await agent.cli(["memory", "get", "kept", "--namespace", "web"])).out);
  shown.push((await agent.cli(["config", "show"])).out);
  expect(shown.flatMap(found)).toEqual([]);
  expect(sweep(root)).toEqual([]);
  await agent.stop("SIGKILL");
  expect(sweep(agent.base)).toEqual([]);
  await agent.start();
  expect((await run("length")).step.output).toBe(SECRETS.API_TOKEN!.length);
});

test("a trigger has it in its settings, once it is set, and its events do not", async () => {
  // Of the plugin's own namespace: what is set for the web is not for it.
  expect((await agent.cli(["agent", "status"])).out).toContain(
    "secret API_TOKEN is not set for namespace watcher",
  );
  await fed(SECRETS.API_TOKEN!, ["secret", "set", "API_TOKEN", "--namespace", "watcher"]);
  await agent.stop();
  await agent.start();
  let events = "";
  const deadline = performance.now() + 30_000;
  while (!events.includes('"watched"')) {
    if (performance.now() > deadline) throw new Error("waited in vain for the trigger");
    events = (await agent.cli(["events", "list", "--type", "watched", "--json"])).out;
  }
  expect(events).toContain("Bearer ***");
  expect(found(events)).toEqual([]);
  expect(sweep(root)).toEqual([]);
  await agent.cli(["secret", "remove", "API_TOKEN", "--namespace", "watcher"]);
});

test("no process shows one in its arguments or environment", async () => {
  const before = Object.keys(SECRETS).length;
  expect(before).toBe(3);
  const seen: string[] = [];
  const look = () => {
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name)))
      for (const file of ["cmdline", "environ"]) {
        try {
          seen.push(
            ...found(readFileSync(join("/proc", pid, file), "utf8")).map((what) => `${file}: ${what}`),
          );
        } catch {
          // It has ended, or belongs to somebody else.
        }
      }
  };
  let done = false;
  const runs = Promise.all([agent.cli(["run", "script"]), agent.cli(["run", "show"])]).finally(
    () => (done = true),
  );
  while (!done) {
    look();
    await Bun.sleep(2);
  }
  await runs;
  expect(seen).toEqual([]);
});

test("sealed anew; a lost key is told by name and the rest runs; what is set again works", async () => {
  expect((await agent.cli(["secret", "rotate"])).out).toBe("3 secrets are sealed under a new key.\n");
  expect((await agent.cli(["run", "length"])).exit).toBe(0);
  await agent.stop();
  rmSync(join(root, "config", "secrets.key"));
  await agent.start();
  const { out, err } = await agent.cli(["secret", "list"]);
  expect(err).toContain("set them again with holdfast secret set: web/API_TOKEN, web/FORBIDDEN, web/QUOTED");
  expect(out).toMatch(/^QUOTED .*its key is lost: set it again$/m);
  expect((await agent.cli(["agent", "status"])).out).toContain("secrets");
  expect((await agent.cli(["run", "length"])).out).toContain("cannot be read");
  await fed(SECRETS.API_TOKEN!, ["secret", "set", "API_TOKEN", "--namespace", "web"]);
  expect(existsSync(join(root, "config", "secrets.key"))).toBe(true);
  expect((await agent.cli(["run", "length"])).exit).toBe(0);
  expect((await agent.cli(["secret", "remove", "QUOTED", "--namespace", "web"])).exit).toBe(0);
  expect((await agent.cli(["secret", "remove", "QUOTED", "--namespace", "web"])).exit).toBe(3);
});
