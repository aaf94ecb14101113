import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { createHmac } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../../src/testing/cli-agent.ts";
import { createTestCa } from "../../src/testing/test-ca.ts";

setDefaultTimeout(90_000);

const SECRET = "0123456789abcdef-secret";
const SAFE_SECRET = "a-secret-of-the-agent-that-no-file-holds";
const folder = mkdtempSync(join(tmpdir(), "holdfast-hook-"));
let agent: CliAgent;
let port: number;
/** Of the hook with TLS, whose secret and key are in the agent's secrets. */
let safePort: number;
const ca = await createTestCa();

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: free } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return free;
}

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const executable = process.env.HOLDFAST_TEST_EXECUTABLE;

async function setSecret(name: string, value: string): Promise<void> {
  const place = ["--namespace", "webhook", "--home", agent.base, "--id", agent.id];
  const program = executable === undefined ? [process.execPath, MAIN] : [executable];
  const child = Bun.spawn([...program, "secret", "set", name, ...place], { stdin: new Blob([value]) });
  expect(await child.exited).toBe(0);
}

beforeAll(async () => {
  port = await freePort();
  safePort = await freePort();
  const { certificate, key } = await ca.server(["127.0.0.1"]);
  const cert = join(folder, "server.crt");
  writeFileSync(cert, certificate);
  const secret = join(folder, "secret");
  writeFileSync(secret, `${SECRET}\n`);
  // The worker may have a user of its own.
  chmodSync(folder, 0o755);
  agent = await cliAgent(`
triggers:
  - name: hook
    plugin: webhook
    with:
      port: ${port}
      auth: hmac
      secret_file: ${secret}
      rate: 50
      burst: 50
      hooks: [{ path: /say, type: said, field: text, pattern: "^deploy ([a-z]+)$" }]
  - name: safe
    plugin: webhook
    with:
      port: ${safePort}
      address: 0.0.0.0
      tls: { cert: ${cert}, key: "\${{ secrets.HOOK_KEY }}" }
      auth: bearer
      secret: "\${{ secrets.HOOK }}"
      hooks: [{ path: /safe, type: safe }]
rules:
  - { name: deploy, on: hook, type: said, run: deploy, params: { app: "\${{ event.data.groups[0] }}" } }
pipelines:
  deploy: { steps: [{ id: note, action: file, with: { path: deployed.log, do: append, content: "\${{ params.app }} " } }] }
`);
  for (const [name, value] of Object.entries({ HOOK: SAFE_SECRET, HOOK_KEY: key }))
    await setSecret(name, value);
  await agent.stop();
  await agent.start();
  for (let left = 400; !(await fetch(`http://127.0.0.1:${port}/`).catch(() => null)); left--) {
    if (left === 0) throw new Error(`the hook does not come: ${(await agent.cli(["agent", "status"])).out}`);
    await Bun.sleep(25);
  }
});
afterAll(async () => {
  await agent.close();
  rmSync(folder, { recursive: true });
});

function call(text: string, key: string): Promise<Response> {
  const body = JSON.stringify({ text });
  const t = Math.floor(Date.now() / 1000);
  const v1 = createHmac("sha256", SECRET).update(`${t}.${key}.${body}`).digest("hex");
  return fetch(`http://127.0.0.1:${port}/say`, {
    method: "POST",
    body,
    headers: {
      "content-type": "application/json",
      "idempotency-key": key,
      "holdfast-signature": `t=${t},v1=${v1}`,
    },
  });
}

const said = async () => {
  const { out } = await agent.cli(["events", "list", "--type", "said", "--json", "--limit", "500"]);
  return (JSON.parse(out) as { items: { id: string; event: { data: { groups: string[] } } }[] }).items;
};
const runs = async () => {
  const { out } = await agent.cli(["runs", "list", "--pipeline", "deploy", "--json", "--limit", "500"]);
  return (JSON.parse(out) as { items: { params?: unknown }[] }).items;
};

test("a call that matches starts a run with its groups; once, however often it comes, and over a crash", async () => {
  expect((await call("deploy front", "one")).status).toBe(202);
  expect((await said()).map(({ event }) => event.data.groups)).toEqual([["front"]]);
  expect((await call("deploy front", "one")).status).toBe(202);
  expect((await call("please deploy front", "two")).status).toBe(204);
  await agent.stop("SIGKILL");
  await agent.start();
  for (let left = 400; ; left--) {
    const again = await call("deploy front", "one").catch(() => null);
    if (again?.status === 202) break;
    if (left === 0) throw new Error("the hook does not come back");
    await Bun.sleep(25);
  }
  expect(await said()).toHaveLength(1);
  expect(await runs()).toHaveLength(1);
});

test("the same event from a person, or out of another hook, starts nothing", async () => {
  const before = (await runs()).length;
  const data = JSON.stringify({ path: "/say", body: { text: "deploy front" }, groups: ["front"] });
  expect((await agent.cli(["events", "emit", "said", "--subject", "/say", "--data", data])).exit).toBe(0);
  for (let left = 400; ; left--) {
    const elsewhere = await fetch(`https://127.0.0.1:${safePort}/safe`, {
      ...{ method: "POST", body: '{"text":"deploy front"}', tls: { ca: ca.certificate } },
      headers: { authorization: `Bearer ${SAFE_SECRET}`, "content-type": "application/json" },
    }).catch(() => null);
    if (elsewhere?.status === 202) break;
    if (left === 0) throw new Error("the other hook does not come");
    await Bun.sleep(25);
  }
  // Whatever they would have started had been made with them.
  expect((await runs()).length).toBe(before);
  expect((await call("deploy front", "after-all")).status).toBe(202);
  expect((await runs()).length).toBe(before + 1);
});

test("a flood is put off, what is accepted is kept, and the agent goes on", async () => {
  const before = (await said()).length;
  const answers = await Promise.all(
    Array.from({ length: 400 }, (_, index) => call("deploy front", `flood-${index}`).catch(() => null)),
  );
  const accepted = answers.filter((answer) => answer?.status === 202).length;
  const refused = answers.filter((answer) => answer?.status === 429 || answer?.status === 503);
  expect(accepted).toBeGreaterThan(0);
  expect(refused.length).toBeGreaterThan(0);
  for (const answer of refused) expect(Number(answer!.headers.get("retry-after"))).toBeGreaterThan(0);
  const forged = await fetch(`http://127.0.0.1:${port}/say`, { method: "POST", body: "{}" });
  expect(forged.status).toBe(401);
  expect((await said()).length).toBe(before + accepted);
  const { out, exit } = await agent.cli(["agent", "status"]);
  expect(exit).toBe(0);
  expect(out).toMatch(/^trigger hook: running, 0 restarts/m);
});

test("with TLS, a key and a secret out of the agent's secrets; wrong configurations are told by config validate", async () => {
  const ask = (token: string) =>
    fetch(`https://127.0.0.1:${safePort}/safe`, {
      ...{ method: "POST", body: "x", tls: { ca: ca.certificate } },
      headers: { authorization: `Bearer ${token}` },
    });
  for (let left = 400; !(await ask("").catch(() => null)); left--) {
    if (left === 0) throw new Error(`the hook does not come: ${(await agent.cli(["agent", "status"])).out}`);
    await Bun.sleep(25);
  }
  expect((await ask(SAFE_SECRET)).status).toBe(202);
  expect((await ask("a-secret-of-the-agent-that-no-file-hold")).status).toBe(401);
  const shown = await agent.cli(["config", "show"]);
  expect(shown.out).not.toContain(SAFE_SECRET);
  const wrong = join(folder, "wrong.yaml");
  writeFileSync(
    wrong,
    `triggers:
  - name: open
    plugin: webhook
    with:
      port: 9120
      auth: hmac
      address: 0.0.0.0
      secret: "\${{ secrets.HOOK }}"
      hooks: [{ path: /a, pattern: "(?<!a)b" }]
`,
  );
  const checked = await agent.bare(["config", "validate", wrong]);
  expect(checked.exit).toBe(1);
  expect(checked.out + checked.err).toContain("it is no regular expression (RE2)");
  writeFileSync(wrong, (await Bun.file(wrong).text()).replace("(?<!a)b", "b"));
  const open = await agent.bare(["config", "validate", wrong]);
  expect(open.out + open.err).toContain("plain HTTP is for loopback only");
});
