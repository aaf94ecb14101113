/** Planted secrets, each leaked in a way of its own; then all that the agent keeps, shows or tells is searched for them. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { secretFilesFolder } from "../../src/model/secret.ts";
import { buildExecutable, startHoldfast, temporaryHome, until } from "./harness.ts";

setDefaultTimeout(240_000);

/** Ways in which an action gives away what it was told. */
const WAYS = [
  ...["output", "key", "nested", "error", "told-error", "log", "fields", "stdout", "stderr", "base64"],
  ...["basic", "url", "json", "hex", "memory", "added", "script", "undone", "parameter", "trigger"],
  // The last ones may take the plugin with them.
  ...["edge-error", "edge-stderr", "big", "edge-head", "die"],
];
/** A parameter that is set with --secret, and one that a trigger is given. */
const [PARAMETER, TRIGGER] = [WAYS.indexOf("parameter"), WAYS.indexOf("trigger")];
const ALPHABETS = ["abcdefghijkmnpqrstuvwxyz0123456789", "+/=&?%#;:", "\"'\\{}[]<>", "äöüß€", " .-_~"];
/** Two alphabets each, so that every encoding has something to do. */
const SECRETS = WAYS.map((_, index) => {
  const pick = (alphabet: string, at: number) => [...alphabet][(index * 7 + at * 5) % [...alphabet].length]!;
  const plain = Array.from({ length: 12 }, (_, at) => pick(ALPHABETS[0]!, at)).join("");
  const odd = Array.from({ length: 4 }, (_, at) => pick(ALPHABETS[1 + (index % 4)]!, at)).join("");
  return `${plain.slice(0, 6)}${odd}${plain.slice(6)}${index}`;
});
const nameOf = (index: number) => `CANARY_${index}`;

const PLUGIN = `import { ActionError, defineAction, v } from "holdfast";
import { writeSync } from "node:fs";
export default defineAction({
  name: "leaky", description: "gives away what it was told",
  settings: v.strictObject({ way: v.string(), secret: v.string(), url: v.optional(v.string()) }),
  permissions: { secrets: ["CANARY_*"], memory: ["*"] }, effect: "idempotent",
  async run({ settings: { way, secret, url }, log, memory, ...context }) {
    const bytes = Buffer.from(secret);
    // What is cut after so many bytes ends with all but the last of the secret.
    const cutAt = (size) => "y".repeat(size - bytes.length + 1) + secret;
    switch (way) {
      case "output": return { said: secret, url };
      case "key": return { [secret]: { ["x" + secret]: 1 } };
      case "nested": return [[{ a: [secret, { b: "in " + secret + " between" }] }]];
      case "error": throw new Error("cannot use " + secret);
      case "told-error": throw new ActionError(secret, { code: secret.slice(0, 60), retryable: false });
      case "log": log.error("told " + secret); return null;
      case "fields": log.info("fields", { secret: [secret], [secret]: 1 }); return null;
      case "stdout": console.log(secret); console.log(JSON.stringify({ secret })); return null;
      case "stderr": writeSync(2, "one\\n" + secret + "\\n"); return null;
      case "base64": return [bytes.toString("base64"), bytes.toString("base64url")];
      case "basic": return ["a", "ab", "abc"].map((user) => "Basic " + Buffer.from(user + ":" + secret).toString("base64"));
      case "url": return ["https://x/?q=" + encodeURIComponent(secret), new URLSearchParams({ q: secret }).toString()];
      case "json": return JSON.stringify({ deep: JSON.stringify({ secret }) });
      case "hex": return bytes.toString("hex");
      case "memory": await memory.set("kept", { secret }); await memory.update("kept-too", () => [secret]); return null;
      case "added": await context.finally("leaky", { way: "output", secret }); return null;
      case "big": return "x".repeat(300000) + secret;
      case "die": writeSync(2, secret + "\\n"); process.kill(process.pid, "SIGKILL"); return null;
      case "edge-error": throw new Error("y".repeat(4096 - secret.length + 1) + secret + "y".repeat(100));
      case "edge-stderr": writeSync(2, cutAt(8192) + "y".repeat(100) + "\\n"); return null;
      case "edge-head": return "y".repeat(4096 - 1 - secret.length + 1) + secret + "y".repeat(5000000);
      case "parameter": case "trigger": return { said: [secret] };
      case "undone": return "to be taken back";
      default: throw new Error("no such way");
    }
  },
});`;
const BLAB = `import { defineTrigger, v } from "holdfast";
export default defineTrigger({
  name: "blab", description: "tells what it was given",
  settings: v.strictObject({ secret: v.string() }),
  permissions: { secrets: ["CANARY_*"] },
  async *run({ settings: { secret }, signal, log, clock }) {
    log.info("begins with " + secret);
    yield { type: "blab", subject: secret, data: { [secret]: [secret, Buffer.from(secret).toString("base64")] } };
    await clock.sleep(3_600_000, signal).catch(() => {});
  },
});`;
const SCRIPT = `#!/bin/sh
input=$(cat)
env; echo "$input" >&2; echo "$input"; printf '%s' "$input" | base64 -w0 >&2; echo >&2
exit 3
`;

function pipelines(): string {
  const lines = WAYS.map((way, index) => {
    const kind = index === PARAMETER ? "params" : "secrets";
    const secret = `"\${{ ${kind}.${nameOf(index)} }}"`;
    const input = `{ way: ${way}, secret: ${secret}, url: "http://h/\${{ ${kind}.${nameOf(index)} }}" }`;
    const retry = "retry: { attempts: 2, initial: 10ms }";
    if (way === "script")
      return `  p${index}: { steps: [{ id: a, action: sh-leaky, ${retry}, with: { text: ${secret} } }] }`;
    const undo =
      way === "undone" ? `, undo: { action: leaky, with: { way: output, secret: ${secret} } }` : "";
    const fails =
      way === "undone" ? ", { id: b, needs: [a], action: leaky, with: { way: none, secret: x } }" : "";
    const last = `on_failure: [{ id: c, action: leaky, with: { way: output, secret: "\${{ failure.message }}" } }]`;
    return `  p${index}: { steps: [{ id: a, action: leaky, ${retry}, with: ${input}${undo} }${fails}], ${last} }`;
  });
  const trigger = `{ name: blab, plugin: blab, with: { secret: "\${{ secrets.${nameOf(TRIGGER)} }}" } }`;
  const archive = "{ name: archive, plugin: file, with: { path: archive.jsonl } }";
  const rule = '{ name: tells, on: blab, finding: { severity: error, title: "${{ event.subject }}" } }';
  return `triggers: [${trigger}]\nrules: [${rule}]\noutputs: [${archive}]\npipelines:\n${lines.join("\n")}\n`;
}

/** Of each secret the forms in which it would be known to who finds it. */
const FORMS = SECRETS.map((secret) => {
  const bytes = Buffer.from(secret);
  const basic = ["a:", "ab:", "abc:"].map((before) =>
    Buffer.from(before + secret)
      .toString("base64")
      .slice(4, -4),
  );
  return [
    // As a cut would leave it.
    ...([...secret].length > 14 ? [[...secret].slice(0, -2).join("")] : []),
    ...[secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret), bytes.toString("hex")],
    ...[bytes.toString("base64").slice(0, -4), bytes.toString("base64url").slice(0, -4), ...basic],
    new URLSearchParams({ q: secret }).toString().slice(2),
  ];
});

function found(where: string, bytes: Buffer): string[] {
  const texts = [bytes.toString("utf8"), bytes.toString("latin1")];
  return FORMS.flatMap((forms, index) =>
    forms
      .filter((form) => texts.some((text) => text.includes(form)))
      .map((form) => `${where}: ${WAYS[index]}: ${form}`),
  );
}

function sweep(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .flatMap((entry) => {
      const path = join(entry.parentPath, entry.name);
      return found(path, readFileSync(path));
    });
}

/** Arguments and environment of every process that this user may look at. */
function processes(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) =>
      ["cmdline", "environ"].flatMap((file) => {
        try {
          return found(`/proc/${pid}/${file}`, readFileSync(join("/proc", pid, file)));
        } catch {
          // It has ended, or belongs to somebody else.
          return [];
        }
      }),
    );
}

test("none of them is found, in clear or encoded", async () => {
  const executable = await buildExecutable();
  const home = temporaryHome();
  const root = join(home, "agent-canary");
  const place = (path: string, text: string) => {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  place("config/conf.d/canary.yaml", pipelines());
  place("data/plugins/leaky/plugin.ts", PLUGIN);
  place("data/plugins/blab/plugin.ts", BLAB);
  place("data/plugins/sh-leaky/leak.sh", SCRIPT);
  chmodSync(join(root, "data/plugins/sh-leaky/leak.sh"), 0o755);
  const permissions = "{ read: ['@system'], exec: ['@system'], secrets: ['CANARY_*'] }";
  place(
    "data/plugins/sh-leaky/plugin.yaml",
    `name: sh-leaky\nkind: action\nruntime: exec\ndescription: leaks\nentry: leak.sh\nsettings: { properties: { text: { type: string } } }\npermissions: ${permissions}\n`,
  );
  const run = ["agent", "run", "--home", home, "--id", "canary", "--health-listen", "127.0.0.1:0", "--json"];
  let agent = await startHoldfast(executable, run);
  const answers: string[] = [];
  const ask = async (args: string[], input = "") => {
    const child = Bun.spawn([executable, ...args, "--home", home, "--id", "canary"], {
      ...{ stdin: new Blob([input]), stdout: "pipe", stderr: "pipe" },
    });
    const said = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    answers.push(...said);
    return { exit: await child.exited, out: said[0]! };
  };
  for (const [index, secret] of SECRETS.entries()) {
    const set =
      index === PARAMETER ? ["param", "set", nameOf(index), "--secret"] : ["secret", "set", nameOf(index)];
    expect((await ask(set, secret)).exit, nameOf(index)).toBe(0);
  }
  const shown: string[] = [];
  let over = false;
  const watching = (async () => {
    while (!over) {
      shown.push(...processes());
      await Bun.sleep(10);
    }
  })();
  for (const [index, way] of WAYS.entries()) {
    // No way is left out because an earlier one has the plugin in quarantine.
    expect(answers.join(""), `before ${way}`).not.toContain("quarantined");
    const { out } = await ask(["run", `p${index}`, "--json"]);
    const { id } = JSON.parse(out.trim().split("\n").at(-1)!) as { id: string };
    if (index === PARAMETER)
      expect((await ask(["runs", "show", id, "--json"])).out).toMatch(/"said":\s*\[\s*"\*\*\*"/);
    for (const args of [
      ["runs", "show", id, "--json"],
      ["runs", "logs", id],
      ["runs", "explain", id],
      ["runs", "explain", id, "--json"],
      ["dead", "show", id, "--json"],
    ])
      await ask(args);
  }
  for (const args of [
    ["runs", "list"],
    ["dead", "list"],
    ["events", "list"],
    ["secret", "list"],
    ["memory", "list"],
    ["param", "list"],
    ["schedules", "list"],
    ["finding", "list"],
    ["rules", "list"],
    ["silence", "list"],
  ])
    await ask([...args, "--json"]);
  for (const args of [
    ["memory", "get", "kept"],
    ["memory", "get", "kept-too"],
    ["agent", "status"],
    ["config", "show"],
  ])
    await ask(args);
  answers.push(
    await (await fetch(`${agent.ready.health as string}/metrics`)).text(),
    agent.stderr(),
    agent.stdout(),
  );
  over = true;
  await watching;
  expect(answers.join("")).not.toContain("denied: secret");
  expect(answers.flatMap((text) => found("an answer", Buffer.from(text)))).toEqual([]);
  expect([...new Set(shown)]).toEqual([]);
  expect(sweep(root)).toEqual([]);
  // As a power cut leaves it, and as a restart takes it up.
  await agent.kill();
  expect(sweep(root)).toEqual([]);
  agent = await startHoldfast(executable, run);
  await ask(["secret", "rotate"]);
  await ask(["run", "p0"]);
  // By now the trigger has its secret, and what it tells has gone through rules and outputs.
  const archive = join(root, "archive.jsonl");
  await until(
    "the trigger to tell",
    () => existsSync(archive) && readFileSync(archive, "utf8").includes('"blab"'),
  );
  for (const what of ["events", "finding"]) await ask([what, "list", "--json"]);
  expect(answers.flatMap((text) => found("an answer", Buffer.from(text)))).toEqual([]);
  expect(answers.at(-2)).toContain("***");
  await agent.stop();
  expect(sweep(root)).toEqual([]);
  // Where the files of scripts were.
  expect(existsSync(secretFilesFolder(join(root, "tmp/workdir")))).toBe(false);
  // What was looked for can be found.
  writeFileSync(join(root, "tmp", "planted"), `x${SECRETS.join("\n")}`);
  expect(sweep(root).length).toBeGreaterThanOrEqual(SECRETS.length);
  expect(answers.join("").split("***").length).toBeGreaterThan(20);
});
