import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ADMIN_TOKEN, type HubFixture, hubFixture } from "../testing/hub-fixture.ts";

const MAIN = new URL("../main.ts", import.meta.url).pathname;
const id = (last: string) => `01938e5c-0000-7000-8000-00000000${last}`;
let hub: HubFixture;
let home: string;

beforeAll(async () => {
  hub = await hubFixture();
  hub.listen();
  home = join(hub.folder, "home");
  mkdirSync(join(home, "hub"), { recursive: true });
  writeFileSync(join(home, "hub", "run.json"), JSON.stringify({ pid: process.pid, api: hub.url }));
  writeFileSync(join(home, "hub", "admin.token"), `${ADMIN_TOKEN}\n`);
  chmodSync(join(home, "hub", "admin.token"), 0o600);
  await fill();
});
afterAll(() => hub.close());

async function fill(): Promise<void> {
  await hub.addAgent("web-01", { role: "web", site: "berlin" }, { hostname: "host-a", os: "Debian 13" });
  await hub.addAgent("db-01", { role: "db" });
  hub.online.add("web-01");
  const checks = [{ name: "store", state: "ok" }];
  const parts = [{ name: "front", plugin: "http-probe", kind: "trigger", state: "running", restarts: 2 }];
  await hub.store.heartbeat("web-01", { checks, parts } as never, Date.now() - 65_000, 0);
  for (let i = 0; i < 3; i++) {
    await hub.addEvent("web-01", {
      id: `e${i}`,
      subject: "sample.log",
      data: { line: `line ${i}\u001b[2J` },
    });
  }
  await hub.addEvent("db-01", { id: "low", type: "disk.low", severity: "warning", data: { free: 0.04 } });
  const startedMs = Date.now() - 5000;
  await hub.putRun("web-01", {
    id: id("aa01"),
    state: "failed",
    reason: "step note failed",
    startedMs,
    endedMs: startedMs + 1500,
  });
  const error = { message: "exit code 3", code: "failed", retryable: false, started: true };
  const output = { exit: 3, stdout: "hello\u001b[31m\nworld\n", stderr: "oh no\n" };
  await hub.putStep("web-01", { run: id("aa01"), step: "note", state: "failed", attempts: 2, output, error });
  await hub.putRun("db-01", { id: id("bb01"), state: "succeeded", pipeline: "clean" });
}

interface Result {
  exit: number;
  out: string;
  err: string;
}

function start(args: string[], env: Record<string, string> = {}) {
  return Bun.spawn([process.execPath, MAIN, ...args], {
    env: {
      PATH: process.env.PATH,
      HOME: hub.folder,
      XDG_STATE_HOME: join(hub.folder, "state"),
      TZ: "UTC",
      ...env,
    },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
}

async function run(args: string[], env?: Record<string, string>): Promise<Result> {
  const child = start(args, env);
  const [out, err, exit] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { exit, out, err };
}

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) {
    text += new TextDecoder().decode(chunk);
    if (text.includes("\n")) break;
  }
  return text.split("\n")[0]!;
}

/** On the fixture's hub, by its home. */
const onHub = (args: string[], env?: Record<string, string>) => run([...args, "--home", home], env);

describe("agents", () => {
  test("list, as a table, by labels and as JSON", async () => {
    const [all, chosen, json, none] = await Promise.all([
      onHub(["agents", "list"]),
      onHub(["agents", "list", "--selector", "role=web"]),
      onHub(["agents", "list", "--json"]),
      onHub(["agents", "list", "--selector", "role=none"]),
    ]);
    expect(all.err).toBe("");
    expect(all.out.split("\n")[0]).toMatch(/^AGENT +STATUS +HEARTBEAT +VERSION +LABELS$/);
    expect(all.out).toMatch(/^db-01 +offline +never +9\.9\.9 +role=db$/m);
    expect(all.out).toMatch(/^web-01 +online +1m ago +9\.9\.9 +role=web,site=berlin$/m);
    expect(chosen.out).not.toContain("db-01");
    expect(JSON.parse(json.out).items.map((item: any) => item.id)).toEqual(["db-01", "web-01"]);
    expect(none).toMatchObject({ exit: 0, out: "" });
    expect(none.err).toContain("no agent fits");
  });

  test("show one; an unknown one is exit 3, a bad selector 1", async () => {
    const [shown, json, unknown, bad] = await Promise.all([
      onHub(["agents", "show", "web-01"]),
      onHub(["agents", "show", "web-01", "--json"]),
      onHub(["agents", "show", "nobody"]),
      onHub(["agents", "list", "--selector", "web"]),
    ]);
    expect(shown.out).toMatch(/^Host +host-a, Debian 13$/m);
    expect(shown.out).toMatch(/^front +trigger +http-probe +running +2 +-$/m);
    expect(shown.out).toMatch(/^store +ok +-$/m);
    expect(shown.out).toMatch(/^events +a{8} +1 +3 +0 +[0-9a-f]{64}$/m);
    expect(JSON.parse(json.out).report.checks[0].name).toBe("store");
    expect(unknown.exit).toBe(3);
    expect(unknown.err).toContain('"nobody"');
    expect(bad.exit).toBe(1);
    expect(bad.err).toContain("label=value");
  });
});

describe("events", () => {
  test("list newest first, filtered, limited, all, as JSON", async () => {
    const [table, json, all, limited] = await Promise.all([
      onHub(["events", "list", "--type", "log.line"]),
      onHub(["events", "list", "--severity", "warning", "--json"]),
      onHub(["events", "list", "--all", "--json"]),
      onHub(["events", "list", "--limit", "2", "--json"]),
    ]);
    const rows = table.out.trim().split("\n").slice(1);
    expect(rows.map((row) => row.slice(row.indexOf("sample.log")))).toEqual([
      "sample.log: line 2",
      "sample.log: line 1",
      "sample.log: line 0",
    ]);
    expect(JSON.parse(json.out)).toMatchObject({
      items: [{ id: "low", event: { data: { free: 0.04 } } }],
      next: null,
    });
    expect(JSON.parse(all.out).items).toHaveLength(4);
    const page = JSON.parse(limited.out);
    expect(page.items.map((item: any) => item.id)).toEqual(["low", "e2"]);
    expect(page.next).not.toBeNull();
  });

  test("tail prints new events, one JSON a line, and ends with exit 0 on Ctrl-C", async () => {
    const child = start(["events", "tail", "--json", "--type", "tail.test", "--home", home]);
    const first = firstLine(child.stdout);
    // The stream starts from now: events go in until one of them shows.
    let line: string | undefined;
    for (let i = 0; line === undefined && i < 100; i++) {
      await hub.addEvent("web-01", { id: `tail-${i}`, type: "tail.test" });
      line = await Promise.race([first, Bun.sleep(40).then(() => undefined)]);
    }
    child.kill("SIGINT");
    expect(await child.exited).toBe(0);
    expect(JSON.parse(line!).type).toBe("tail.test");
  });
});

describe("runs", () => {
  test("list", async () => {
    const [table, json] = await Promise.all([
      onHub(["runs", "list"]),
      onHub(["runs", "list", "--state", "failed", "--json"]),
    ]);
    expect(table.out).toMatch(
      new RegExp(`^${id("aa01")} .* web-01 +react +rule a rule +failed +1\\.5s +step note failed$`, "m"),
    );
    expect(table.out).toMatch(new RegExp(`^${id("bb01")} .* db-01 +clean +rule a rule +succeeded`, "m"));
    expect(JSON.parse(json.out).items).toHaveLength(1);
  });

  test("show by the end of the id; unknown 3, several 1", async () => {
    const [shown, json, unknown, several, other] = await Promise.all([
      onHub(["runs", "show", "aa01"]),
      onHub(["runs", "show", id("aa01"), "--json"]),
      onHub(["runs", "show", "ffff"]),
      onHub(["runs", "show", "0193"]),
      onHub(["runs", "show", "aa01", "--agent", "db-01"]),
    ]);
    expect(shown.out).toMatch(/^State +failed$/m);
    expect(shown.out).toMatch(/^x note +exec +failed +2 +1\.5s +at-most-once +failed: exit code 3$/m);
    expect(shown.out).not.toContain("\u001b");
    expect(JSON.parse(json.out).steps[0].error.code).toBe("failed");
    expect(unknown.exit).toBe(3);
    expect(several.exit).toBe(1);
    expect(several.err).toContain(id("bb01"));
    expect(other.exit).toBe(3);
  });

  test("logs: stdout, stderr, the rest of the output, the error", async () => {
    const [all, one, wrong, json] = await Promise.all([
      onHub(["runs", "logs", "aa01"]),
      onHub(["runs", "logs", "aa01", "--step", "note"]),
      onHub(["runs", "logs", "aa01", "--step", "nope"]),
      onHub(["runs", "logs", "aa01", "--json"]),
    ]);
    expect(all.out).toBe(
      '== note (exec): failed\nOUT hello\nOUT world\nERR oh no\n-- output\n{\n  "exit": 3\n}\n-- error: failed: exit code 3\n',
    );
    expect(one.out).toBe(all.out);
    expect(wrong.exit).toBe(3);
    expect(wrong.err).toContain("its steps are note");
    expect(JSON.parse(json.out).steps[0]).toMatchObject({
      step: "note",
      stderr: "oh no\n",
      output: { exit: 3 },
    });
  });
});

describe("token create", () => {
  test("prints the join command alone on stdout", async () => {
    const [made, bad, json] = await Promise.all([
      onHub(["token", "create", "--uses", "2", "--ttl", "1h"]),
      onHub(["token", "create", "--ttl", "soon"]),
      onHub(["token", "create", "--json"]),
    ]);
    expect(made.out).toMatch(/^holdfast agent enroll .* --uses 2\n$/);
    expect(made.err).toContain("2 times");
    expect(bad.exit).toBe(1);
    expect(bad.err).toContain("ttl");
    expect(JSON.parse(json.out)).toMatchObject({ token: "hfjoin_abc", uses: 1 });
  });
});

describe("hub rotate-receipt-key", () => {
  test("says the new key, as text and as JSON; wrong arguments change nothing", async () => {
    const [made, json, bad] = await Promise.all([
      onHub(["hub", "rotate-receipt-key"]),
      onHub(["hub", "rotate-receipt-key", "--json"]),
      onHub(["hub", "rotate-receipt-key", "now"]),
    ]);
    expect(made.out).toBe("receipts are signed with key 4f\n");
    expect(made.err).toContain("2 keys");
    expect(JSON.parse(json.out)).toEqual({ serial: "4f", certificates: 2 });
    expect([made.exit, json.exit, bad.exit]).toEqual([0, 0, 2]);
  });
});

describe("which hub, and exit codes", () => {
  test("--hub with a token file; the environment; --verbose names it without the token", async () => {
    const tokenFile = join(home, "hub", "admin.token");
    const [flags, env, wrong] = await Promise.all([
      run(["agents", "list", "--json", "--hub", hub.url, "--token-file", tokenFile, "--verbose"]),
      run(["agents", "list", "--json"], { HOLDFAST_HUB_URL: hub.url, HOLDFAST_TOKEN: ADMIN_TOKEN }),
      run(["agents", "list"], { HOLDFAST_HUB_URL: hub.url, HOLDFAST_TOKEN: "wrong-token-x" }),
    ]);
    expect(JSON.parse(flags.out).items).toHaveLength(2);
    expect(flags.err).toContain(hub.url);
    expect(flags.err).not.toContain(ADMIN_TOKEN);
    expect(JSON.parse(env.out).items).toHaveLength(2);
    expect(env.err).toBe("");
    expect(wrong.exit).toBe(4);
    expect(wrong.err).toContain("HOLDFAST_HUB_URL");
    expect(wrong.err).not.toContain("wrong-token-x");
  });

  test("no hub 3 or, as root, by its default home too; not running 5; down 5; plain http 4; usage 2", async () => {
    const stopped = join(hub.folder, "stopped");
    mkdirSync(join(stopped, "hub"), { recursive: true });
    const closed = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
    const down = `http://127.0.0.1:${closed.port}`;
    await closed.stop(true);
    const env = { HOLDFAST_TOKEN: ADMIN_TOKEN };
    const cases: [string[], number][] = [
      [["agents", "list", "--home", join(hub.folder, "nowhere")], 3],
      [["agents", "list", "--home", stopped], 5],
      [["events", "tail", "--hub", down], 5],
      [["runs", "list", "--hub", down], 5],
      [["runs", "list", "--hub", "http://hub.example"], 4],
      [["runs", "list", "--home", home, "--stat", "failed"], 2],
      [["runs", "list", "--home", home, "spare"], 2],
      [["runs", "list", "--home", home, "--open"], 2],
      [["runs", "logs", "aa01", "--home", home, "--follow"], 2],
      [["runs", "list", "--home", home, "--limit", "many"], 2],
      [["runs", "list", "--home", home, "--agent"], 2],
      [["runs", "show", "--home", home], 2],
      [["runs"], 2],
      [["runs", "lisst"], 2],
    ];
    const results = await Promise.all(cases.map(([args]) => run(args, env)));
    results.forEach((result, index) => {
      expect([cases[index]![0].join(" "), result.exit]).toEqual([
        cases[index]![0].join(" "),
        cases[index]![1],
      ]);
      expect(result.err).toStartWith("holdfast: ");
      expect(result.out).toBe("");
    });
  }, 20_000);

  test("a reader of stdout that goes away ends the command in peace", async () => {
    const script = `"$0" "$1" events list --all --json --home "$2" | true; echo "exit \${PIPESTATUS[0]}"`;
    const child = Bun.spawn(["bash", "-c", script, process.execPath, MAIN, home], {
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    expect(out).toBe("exit 0\n");
    expect(err).toBe("");
  });
});

describe("help", () => {
  const COMMANDS = [
    "agents list",
    "agents show",
    "events list",
    "events tail",
    "runs list",
    "runs show",
    "runs logs",
    "token create",
    "hub rotate-receipt-key",
  ];

  test("every command's help has an example, which runs", async () => {
    await Promise.all(
      COMMANDS.map(async (command) => {
        const help = await run([...command.split(" "), "--help"]);
        expect(help.out).not.toContain("\u001b");
        const example = /^Example: holdfast (.+)$/m.exec(help.out)?.[1];
        expect(example).toStartWith(command);
        if (command === "events tail") return;
        // Ids of the examples are not this hub's: not found (3) is the right answer for them.
        const result = await onHub(example!.split(" "));
        expect([command, result.exit]).toEqual([command, / show 3| logs 3/.test(` ${example}`) ? 3 : 0]);
      }),
    );
  }, 20_000);
});
