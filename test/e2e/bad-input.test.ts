/**
 * What an operator gets wrong, on the compiled executable: each case has its exit code, one clear message without a
 * stack or a token, and leaves nothing half-made behind.
 */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hasTool } from "../host-tool.ts";
import {
  buildExecutable,
  type Finished,
  freePort,
  type Holdfast,
  runHoldfast,
  startHoldfast,
  temporaryHome,
  until,
} from "./harness.ts";

const ID = "web-01";
/** Long enough for a loaded machine; what waited for a timer that nobody needs took a minute. */
const ENDS_WITHIN_MS = 10_000;
const UNKNOWN_TOKEN = `hfjoin_${"A".repeat(43)}`;

let executable: string;
let base: string;
const running: Holdfast[] = [];
const tokens = new Set<string>([UNKNOWN_TOKEN]);

beforeAll(async () => {
  executable = await buildExecutable();
  base = temporaryHome();
}, 120_000);

afterAll(async () => {
  await Promise.all(running.map((process) => process.kill()));
});

const agentArgs = (home: string, id = ID) => ["agent", "run", "--home", home, "--id", id, "--json"];
const ANY_PORT = { HOLDFAST__HEALTH__LISTEN: "127.0.0.1:0" };

async function start(args: string[], env: Record<string, string> = {}): Promise<Holdfast> {
  const process = await startHoldfast(executable, args, env);
  running.push(process);
  return process;
}

const startAgent = (home: string, id = ID) => start(agentArgs(home, id), ANY_PORT);

/** One message for a person: what, where, why, what to do. */
function expectRefusal(result: Finished, exitCode: number, message: RegExp): void {
  expect(result.stderr).toMatch(message);
  expect(result.exitCode).toBe(exitCode);
  expect(result.stdout).toBe("");
  expect(result.stderr).toStartWith("holdfast: ");
  expect(result.stderr).not.toMatch(/^\s+at .*[:(]/m);
  expect(result.stderr).not.toMatch(/undefined|\[object|NaN/);
  for (const token of tokens) expect(result.stderr).not.toContain(token);
}

async function refused(args: string[], exitCode: number, message: RegExp): Promise<void> {
  const before = performance.now();
  expectRefusal(await runHoldfast(executable, args, args[1] === "run" ? ANY_PORT : {}), exitCode, message);
  expect(performance.now() - before).toBeLessThan(ENDS_WITHIN_MS);
}

/**
 * A server with so many free ports on either side of its own. Below those that the system gives out, which anybody may
 * have been given by the time when they are needed.
 */
async function serverAmongFreePorts(around: number): Promise<Bun.Server<undefined>> {
  const width = 2 * around + 1;
  for (let first = 20_000 + (process.pid % 1000) * 8; first < 32_000; first += width) {
    const servers: Bun.Server<undefined>[] = [];
    try {
      for (let port = first; port < first + width; port++)
        servers.push(Bun.serve({ hostname: "127.0.0.1", port, fetch: () => new Response("") }));
      return servers.splice(around, 1)[0]!;
    } catch {
      // Somebody has one of them.
    } finally {
      await Promise.all(servers.map((server) => server.stop(true)));
    }
  }
  throw new Error(`no ${width} ports in a row are free`);
}

/** An agent's home with this configuration in conf.d. */
function homeWith(name: string, yaml: string): { home: string; root: string; conf: string } {
  const home = join(base, name);
  const root = join(home, `agent-${ID}`);
  const conf = join(root, "config", "conf.d", "test.yaml");
  mkdirSync(join(root, "config", "conf.d"), { recursive: true });
  mkdirSync(join(root, "data", "plugins"), { recursive: true });
  writeFileSync(conf, yaml);
  return { home, root, conf };
}

async function status(home: string): Promise<any> {
  const { stdout } = await runHoldfast(executable, ["agent", "status", "--home", home, "--id", ID, "--json"]);
  return JSON.parse(stdout);
}

function processesOf(home: string): string[] {
  const lines: string[] = [];
  for (const name of new Bun.Glob("[0-9]*").scanSync({ cwd: "/proc", onlyFiles: false })) {
    try {
      const line = readFileSync(`/proc/${name}/cmdline`, "utf8");
      if (line.includes(home)) lines.push(line.replaceAll("\0", " "));
    } catch {
      // It has ended since.
    }
  }
  return lines;
}

describe("ids and homes", () => {
  test.each(["a", "../x", "a".repeat(65), "-web", "web 01"])("agent id %p", async (id) => {
    const home = join(base, "ids");
    await refused(["agent", "run", "--home", home, `--id=${id}`], 1, /is not an agent id: 3 to 64 letters/);
    expect(existsSync(home)).toBe(false);
  });

  test("a home where nothing can be made", async () => {
    await refused(agentArgs("/proc/x"), 1, /cannot make \/proc\/x: .*choose another --home/);
  });

  test("a file in the way", async () => {
    const file = join(base, "file");
    writeFileSync(file, "mine");
    await refused(agentArgs(file), 1, /a file is in the way; move it away or choose another --home/);
    expect(readFileSync(file, "utf8")).toBe("mine");
    const home = join(base, "in-the-way");
    mkdirSync(home);
    writeFileSync(join(home, `agent-${ID}`), "mine");
    await refused(agentArgs(home), 1, /agent-web-01: something that is not a folder is in the way/);
    expect(readFileSync(join(home, `agent-${ID}`), "utf8")).toBe("mine");
  });

  // Root may write everywhere, so that the agent has to be somebody else here.
  test.skipIf(process.getuid?.() === 0 && !hasTool("setpriv"))("a home that is read-only", async () => {
    const home = join(base, "read-only");
    mkdirSync(home);
    chmodSync(base, 0o755);
    chmodSync(home, 0o555);
    const asNobody = ["--reuid=65534", "--regid=65534", "--clear-groups", executable];
    const result =
      process.getuid?.() === 0
        ? await runHoldfast("setpriv", [...asNobody, ...agentArgs(home)])
        : await runHoldfast(executable, agentArgs(home));
    expectRefusal(result, 4, /cannot make .*read-only.*: this user may not; .*choose another --home/);
  });
});

describe("what is taken", () => {
  test("a health port in use names its owner, and the next start is not hindered", async () => {
    const home = join(base, "port");
    const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("") });
    const listen = `127.0.0.1:${server.port}`;
    await refused(
      [...agentArgs(home), "--health-listen", listen],
      1,
      new RegExp(`health port cannot listen on ${listen}: .*in use by pid ${process.pid} .*health\\.listen`),
    );
    await server.stop(true);
    const agent = await start([...agentArgs(home), "--health-listen", listen]);
    expect(await agent.stop()).toBe(0);
  });

  test("a second start names the pid and leaves the first alone; kill -9 leaves no lock", async () => {
    const home = join(base, "twice");
    const first = await startAgent(home);
    await refused(agentArgs(home), 1, new RegExp(`agent ${ID} is already running: pid ${first.pid} holds`));
    expect((await status(home)).pid).toBe(first.pid);
    await first.kill();
    const stale = readFileSync(join(home, `agent-${ID}`, "data", "state", "agent.lock"), "utf8");
    expect(Number(stale)).toBe(first.pid);
    const second = await startAgent(home);
    expect((await fetch(`${second.ready.health}/readyz`)).status).toBe(200);
    expect(await second.stop()).toBe(0);
  });

  test("a port of holdfast up that is in use: both halves are named by their settings, and none stays", async () => {
    const home = join(base, "up");
    const server = await serverAmongFreePorts(3);
    for (const offset of [0, 1, 2, 3]) {
      const args = ["up", "--home", home, "--id", ID, "--json", "--port", String(server.port! - offset)];
      await refused(args, 1, new RegExp(`127\\.0\\.0\\.1:${server.port}: .*in use by pid ${process.pid} `));
      expect(processesOf(home)).toEqual([]);
    }
    await server.stop(true);
    const up = await start(["up", "--home", home, "--id", ID, "--json", "--port", "0"]);
    expect(await up.stop()).toBe(0);
  }, 60_000);

  test("status of an agent that does not run", async () => {
    await refused(["agent", "status", "--home", join(base, "twice"), "--id", ID], 5, /agent web-01/);
  });
});

describe("configuration", () => {
  test("plugins that are unknown or cannot be loaded cost only their own triggers", async () => {
    const { home, root, conf } = homeWith(
      "plugins",
      [
        "triggers:",
        "  - { name: misspelt, plugin: file-tial, with: { path: app.log } }",
        "  - { name: broken, plugin: thrower }",
        "  - { name: good, plugin: interval, with: { every: 20ms } }",
        "",
      ].join("\n"),
    );
    writeFileSync(join(root, "data", "plugins", "thrower.ts"), 'throw new Error("boom at load");\n');
    const agent = await startAgent(home);
    const ready = await fetch(`${agent.ready.health}/readyz?verbose`);
    const text = await ready.text();
    expect(ready.status).toBe(200);
    expect(text).toMatch(
      /\[~\]workers degraded: .*trigger misspelt is failed: .*"file-tial" \(known: .*file-tail/,
    );
    expect(text).toMatch(/trigger broken is failed: .*thrower\.ts.*boom at load/);
    await until("the good trigger to emit", async () => {
      const metrics = await (await fetch(`${agent.ready.health}/metrics`)).text();
      return Number(/^holdfast_agent_events_total (\d+)$/m.exec(metrics)?.[1]) > 2;
    });
    expect(await agent.stop()).toBe(0);
    expect(readFileSync(join(root, "logs", "agent.log"), "utf8")).toMatch(
      /left out.*thrower\.ts.*boom at load/,
    );

    const checked = await runHoldfast(executable, ["config", "validate", "--home", home]);
    expect(checked.exitCode).toBe(1);
    expect(checked.stdout).toContain(
      `${conf}:2:31: triggers[0].plugin: there is no trigger plugin "file-tial"`,
    );
    expect(checked.stdout).toContain('did you mean "file-tail"?');
    expect(checked.stdout).toMatch(/test\.yaml:3:\d+: triggers\[1\]\.plugin: .*thrower\.ts.*boom at load/);
    expect(checked.stdout).toEndWith("2 problems\n");
  }, 30_000);

  test("a condition that is no CEL", async () => {
    const { home, root, conf } = homeWith(
      "cel",
      [
        "triggers: [{ name: good, plugin: interval, with: { every: 1s } }]",
        "rules:",
        "  - name: errors",
        "    on: good",
        "    when: event.data.line.contains('ERROR'",
        "    run: react",
        "pipelines: { react: { steps: [{ id: a, action: exec, with: { command: [/bin/true] } }] } }",
        "",
      ].join("\n"),
    );
    await refused(agentArgs(home), 1, new RegExp(`${conf}:5:11: rules\\[0\\]\\.when: not a CEL condition`));
    expect(existsSync(join(root, "data", "state", "agent.db"))).toBe(false);
  });

  test("a key that is unknown, and YAML that is none", async () => {
    const { home, conf } = homeWith("keys", "triggerz: []\n");
    await refused(agentArgs(home), 1, new RegExp(`${conf}:1:1: .*triggerz.*did you mean "triggers"`));
    writeFileSync(conf, "rules: [\n");
    await refused(agentArgs(home), 1, new RegExp(`${conf}:\\d+:\\d+: `));
  });

  test("a hub that this agent is not enrolled at", async () => {
    const { home, root } = homeWith("stranger", "hub: { url: grpcs://127.0.0.1:1 }\n");
    await refused(
      agentArgs(home),
      1,
      /is to report to grpcs:\/\/127\.0\.0\.1:1 but is not enrolled: run holdfast/,
    );
    expect(existsSync(join(root, "data", "state", "agent.db"))).toBe(false);
  });
});

interface Hub {
  url: string;
  api: string;
  pin: string;
  tokenFile: string;
  args: string[];
  process: Holdfast;
}

async function makeHub(name: string): Promise<Hub> {
  const [grpc, api, health] = await Promise.all([freePort(), freePort(), freePort()]);
  const tokenFile = join(base, `${name}.token`);
  const where = ["--home", join(base, name), "--listen", `127.0.0.1:${grpc}`];
  where.push("--api", `127.0.0.1:${api}`, "--health", `127.0.0.1:${health}`);
  const init = ["hub", "init", ...where, "--name", "127.0.0.1", "--token-file", tokenFile, "--json"];
  const made = await runHoldfast(executable, init);
  expect(made.stderr + made.exitCode).toEndWith("0");
  tokens.add(readFileSync(tokenFile, "utf8").trim());
  const args = ["hub", "run", ...where, "--json"];
  return {
    url: `grpcs://127.0.0.1:${grpc}`,
    api: `http://127.0.0.1:${api}`,
    pin: JSON.parse(made.stdout).pin as string,
    tokenFile,
    args,
    process: await start(args),
  };
}

async function joinToken(hub: Hub, ...options: string[]): Promise<string> {
  const target = ["--hub", hub.api, "--token-file", hub.tokenFile, "--json"];
  const made = await runHoldfast(executable, ["token", "create", ...target, ...options]);
  expect(made.stderr + made.exitCode).toEndWith("0");
  const { token } = JSON.parse(made.stdout) as { token: string };
  tokens.add(token);
  return token;
}

describe("enrollment", () => {
  let hub: Hub;
  let token: string;
  const home = () => join(base, "agents");

  beforeAll(async () => {
    hub = await makeHub("hub");
    token = await joinToken(hub);
  });

  const enroll = (id: string, given: Partial<{ url: string; token: string; pin: string }> = {}) => [
    ...["agent", "enroll", "--home", home(), "--id", id, "--hub", given.url ?? hub.url],
    ...["--token", given.token ?? token, "--ca-pin", given.pin ?? hub.pin],
  ];

  /** No key, no certificate, no hub in the file, nothing that was begun. */
  function expectNotEnrolled(id: string): void {
    const root = join(home(), `agent-${id}`);
    const files = existsSync(root) ? [...new Bun.Glob("**/*").scanSync({ cwd: root, dot: true })].sort() : [];
    if (files.length > 0) expect(files).toEqual(["config/agent.yaml", "data/state/agent.lock"]);
    if (files.length > 0)
      expect(readFileSync(join(root, "config", "agent.yaml"), "utf8")).not.toContain("hub:");
  }

  async function notEnrolled(id: string, args: string[], exitCode: number, message: RegExp): Promise<void> {
    await refused(args, exitCode, message);
    expectNotEnrolled(id);
  }

  test("a token that the hub does not know", () =>
    notEnrolled(
      "unknown",
      enroll("unknown", { token: UNKNOWN_TOKEN }),
      4,
      /does not know the join token.*token create/,
    ));

  test("a wrong pin: nothing is sent", () => {
    const pin = `sha256:${"0".repeat(64)}`;
    return notEnrolled(
      "wrong-pin",
      enroll("wrong-pin", { pin }),
      4,
      /not the hub of this pin: expected sha256:0+, presented sha256:\w{64}.*Nothing was sent/,
    );
  });

  test("no pin, no token, no address", async () => {
    await notEnrolled("no-pin", enroll("no-pin", { pin: "sha256:1234" }), 2, /"sha256:1234" is not a pin/);
    await notEnrolled("no-token", enroll("no-token", { token: "" }), 2, /token/);
    await notEnrolled(
      "no-url",
      enroll("no-url", { url: "hub.example" }),
      2,
      /"hub\.example" is not a hub's address: write grpcs:/,
    );
  });

  test("a hub that is not there", async () => {
    const url = `grpcs://127.0.0.1:${await freePort()}`;
    await notEnrolled(
      "alone",
      enroll("alone", { url }),
      5,
      /cannot be reached: connection refused.*check the address/,
    );
  });

  test("a server that does not speak TLS", async () => {
    const url = hub.api.replace("http:", "grpcs:");
    await notEnrolled("plain", enroll("plain", { url }), 5, /it does not speak TLS; check the address/);
  });

  test.skipIf(!hasTool("faketime"))("a clock that is ten years off", async () => {
    const args = enroll("late");
    const result = await runHoldfast("faketime", ["-f", "+10y", executable, ...args]);
    expectRefusal(
      result,
      4,
      /certificate of the hub at .* has expired: .*this host's clock says 20[3-9]\d.*check this host's clock/,
    );
    expectNotEnrolled("late");
  });

  test("none of that used the token up, but one enrollment does", async () => {
    const first = await runHoldfast(executable, enroll("first"));
    expect(first.stderr + first.exitCode).toBe("0");
    expect(first.stdout).not.toContain(token);
    await notEnrolled("second", enroll("second"), 4, /join token was used up already: make a new one/);
    const again = await runHoldfast(executable, enroll("first"));
    expect([again.exitCode, again.stdout]).toEqual([0, expect.stringContaining("was enrolled already")]);
  });

  test("an id that somebody else has", async () => {
    const other = join(base, "other-host");
    const args = enroll("first", { token: await joinToken(hub) }).map((arg) =>
      arg === home() ? other : arg,
    );
    await refused(
      args,
      1,
      /id first is enrolled with another key: choose another id, or enroll from the home/,
    );
    expect(existsSync(join(other, "agent-first", "config", "certificates", "agent.crt"))).toBe(false);
  });

  /** While a host is not booted, its uptime says how late it is, and faketime leaves that alone. */
  const booted = (home: string) => {
    const [path] = [...new Bun.Glob("**/hub.db").scanSync({ cwd: home, absolute: true })];
    using database = new Database(path!);
    database.run("UPDATE meta SET value = json_set(value, '$.boot', 'before') WHERE key = 'trusted_time'");
  };

  // The shortest life of a token is a minute: the hub is started again two hours later.
  const library = [...new Bun.Glob("*/faketime/libfaketime.so.1").scanSync({ cwd: "/usr/lib" })][0];
  test.skipIf(!hasTool("faketime") || library === undefined)("a token that has expired", async () => {
    const old = await makeHub("old-hub");
    const expired = await joinToken(old, "--ttl", "1m");
    expect(await old.process.stop()).toBe(0);
    booted(join(base, "old-hub"));
    const later = await start(old.args, { LD_PRELOAD: join("/usr/lib", library!), FAKETIME: "+2h" });
    const given = { url: old.url, pin: old.pin, token: expired };
    await notEnrolled("too-late", enroll("too-late", given), 4, /join token.*expired.*make a new one/);
    expect(await later.stop()).toBe(0);
    // A clock that is set back brings no token back.
    await start(old.args);
    await notEnrolled("too-late", enroll("too-late", given), 4, /join token.*expired.*make a new one/);
  });

  test("scripts that are missing or not executable: the hub shows why the run failed", async () => {
    const scripted = await runHoldfast(executable, enroll(ID, { token: await joinToken(hub) }));
    expect(scripted.stderr + scripted.exitCode).toBe("0");
    const root = join(home(), `agent-${ID}`);
    const pipeline = (name: string) =>
      `  ${name}: { steps: [{ id: act, action: exec, with: { command: ${name}.sh }, effect: idempotent }] }`;
    const rule = (name: string) =>
      `  - { name: ${name}, on: app, when: 'event.data.line == "${name}"', run: ${name} }`;
    writeFileSync(
      join(root, "config", "conf.d", "test.yaml"),
      [
        "triggers: [{ name: app, plugin: file-tail, with: { path: app.log, from: start } }]",
        ...["rules:", rule("missing"), rule("plain")],
        ...["pipelines:", pipeline("missing"), pipeline("plain"), ""],
      ].join("\n"),
    );
    writeFileSync(join(root, "plain.sh"), "#!/bin/sh\n");
    chmodSync(join(root, "plain.sh"), 0o644);
    const agent = await startAgent(home());
    appendFileSync(join(root, "app.log"), "missing\nplain\n");
    const target = ["--hub", hub.api, "--token-file", hub.tokenFile];
    const list = async () => {
      const { stdout } = await runHoldfast(executable, ["runs", "list", ...target, "--json"]);
      return (JSON.parse(stdout) as { items: { id: string; pipeline: string; state: string }[] }).items;
    };
    await until(
      "both runs to have failed",
      async () => (await list()).filter((run) => run.state === "failed").length === 2,
    );
    const shown = new Map<string, string>();
    for (const run of await list())
      shown.set(run.pipeline, (await runHoldfast(executable, ["runs", "show", run.id, ...target])).stdout);
    expect(shown.get("missing")).toContain(join(root, "missing.sh"));
    expect(shown.get("plain")).toContain(`chmod +x ${join(root, "plain.sh")}`);
    expect(await agent.stop()).toBe(0);
  }, 30_000);

  test("no log holds a token", () => {
    const logs = [...new Bun.Glob("**/*.log").scanSync({ cwd: base })].filter(
      (name) => !name.endsWith("app.log"),
    );
    expect(logs.length).toBeGreaterThanOrEqual(3);
    for (const log of logs) {
      const text = readFileSync(join(base, log), "utf8");
      for (const each of tokens) expect(text.includes(each)).toBe(false);
    }
  });
});
