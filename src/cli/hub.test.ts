import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { grpcTransport } from "../agent/sync/grpc-transport.ts";
import { systemClock } from "../core/clock.ts";
import { events, StreamBuilder } from "../hub/store/test-batches.ts";
import type { EnrollRequest, EnrollResponse, HubFrame } from "../protocol/gen/holdfast/v1/sync.ts";
import { parseHubUrl } from "../protocol/transport-address.ts";
import { recordsFrame } from "../protocol/transport-frames.ts";
import { hubError, openSyncClient } from "../protocol/transport-grpc.ts";

const MAIN = join(import.meta.dir, "..", "main.ts");
const FREE = ["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--health", "127.0.0.1:0"];
const ENV = { PATH: process.env.PATH ?? "", HOME: tmpdir() };

interface Ready {
  ready: true;
  api: string;
  grpc: string;
  health: string;
}
interface Made {
  pin: string;
  adminToken: string;
  join: { token: string };
}

let base: string;
let running: Bun.Subprocess<"pipe", "pipe", "pipe">[];
let taken: Server | undefined;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "hub-cli-"));
  running = [];
});
afterEach(async () => {
  for (const child of running) child.kill("SIGKILL");
  await Promise.all(running.map((child) => child.exited));
  taken?.close();
  taken = undefined;
  rmSync(base, { recursive: true, force: true });
});

async function cli(...args: string[]) {
  const child = Bun.spawn([process.execPath, MAIN, ...args], { env: ENV, stdout: "pipe", stderr: "pipe" });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { out, err, code };
}

async function init(...args: string[]): Promise<Made> {
  const { out, err, code } = await cli("hub", "init", "--home", base, "--json", ...FREE, ...args);
  expect([code, err]).toEqual([0, ""]);
  return JSON.parse(out) as Made;
}

function spawnHub(args: string[] = [], env: Record<string, string> = {}) {
  const child = Bun.spawn([process.execPath, MAIN, "hub", "run", "--home", base, "--json", ...args], {
    env: { ...ENV, ...env },
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
  running.push(child);
  return child;
}

async function startHub(args: string[] = [], env: Record<string, string> = {}) {
  const child = spawnHub(args, env);
  let text = "";
  for await (const chunk of child.stdout) {
    text += new TextDecoder().decode(chunk);
    if (text.includes("\n")) break;
  }
  if (!text.includes("\n")) throw new Error(`the hub did not start: ${await child.stderr.text()}`);
  return { child, urls: JSON.parse(text) as Ready };
}

const get = (urls: Ready, path: string, token: string) =>
  fetch(`${urls.api}/api/v1/${path}`, { headers: { authorization: `Bearer ${token}` } });

/** Enrolls over the wire as an agent does; leaves its certificates in a folder. */
async function enroll(urls: Ready, made: Made, id: string): Promise<string> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = (await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as CryptoKeyPair;
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: "CN=x",
    keys,
    signingAlgorithm: algorithm,
  });
  const ca = readFileSync(join(base, "hub/certificates/ca.crt"), "utf8");
  const client = await openSyncClient(parseHubUrl(urls.grpc), { ca });
  const request: EnrollRequest = {
    agentId: id,
    token: made.join.token,
    csr: Buffer.from(csr.rawData),
    labels: { role: "web" },
    wallMs: BigInt(Date.now()),
  };
  const answer = await new Promise<EnrollResponse>((resolve, reject) =>
    client.enroll(request, (error, response) =>
      error ? reject(hubError(error) ?? error) : resolve(response),
    ),
  ).finally(() => client.close());
  const folder = join(base, `certificates-${id}`);
  mkdirSync(folder);
  const key = x509.PemConverter.encode(
    await crypto.subtle.exportKey("pkcs8", keys.privateKey),
    "PRIVATE KEY",
  );
  writeFileSync(join(folder, "agent.key"), key, { mode: 0o600 });
  writeFileSync(
    join(folder, "agent.crt"),
    x509.PemConverter.encode(new Uint8Array(answer.certificate), "CERTIFICATE"),
  );
  writeFileSync(join(folder, "ca.crt"), ca);
  return folder;
}

async function openSession(urls: Ready, certificates: string) {
  const transport = grpcTransport({ url: urls.grpc, certificates, clock: systemClock() });
  const hello = {
    protocol: 1,
    capabilities: [],
    agentId: "web-01",
    epoch: "e1",
    labels: { role: "web" },
    facts: '{"hostname":"h","version":"0.1.0"}',
    wallMs: BigInt(Date.now()),
  };
  return await transport.connect(hello, new AbortController().signal);
}

async function nextFrame(session: { frames: AsyncIterable<HubFrame> }) {
  const { value } = await session.frames[Symbol.asyncIterator]().next();
  return (value as HubFrame | undefined)?.frame;
}

describe("hub init", () => {
  test("shows the token and the join command once; a second one refuses and changes nothing", async () => {
    const { out, err, code } = await cli(
      "hub",
      "init",
      "--home",
      base,
      "--name",
      "hub.example",
      "--name=second",
    );
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(/^ {2}hfadm_[\w-]{43}$/m);
    expect(out).toMatch(
      /holdfast agent enroll --hub grpcs:\/\/hub\.example:8443 --token hfjoin_[\w-]{43} --ca-pin sha256:[0-9a-f]{64} --id ID/,
    );
    const config = readFileSync(join(base, "hub/config/hub.yaml"), "utf8");
    expect(config).toContain("- second");
    const again = await cli("hub", "init", "--home", base);
    expect([again.code, again.out]).toEqual([1, ""]);
    expect(again.err).toContain("A hub exists already");
    expect(readdirSync(base)).toEqual(["hub"]);
    expect(readFileSync(join(base, "hub/config/hub.yaml"), "utf8")).toBe(config);
  });

  test("two at once make one hub", async () => {
    const both = await Promise.all([1, 2].map(() => cli("hub", "init", "--home", base, "--json")));
    expect(both.map(({ code }) => code).sort()).toEqual([0, 1]);
    expect(both.find(({ code }) => code === 1)!.err).toContain("A hub exists already");
    expect(readdirSync(base)).toEqual(["hub"]);
  });

  test("puts the token into a file instead", async () => {
    const file = join(base, "hub", "admin.token");
    const { out } = await cli("hub", "init", "--home", base, "--token-file", file);
    expect(out).not.toContain("hfadm_");
    expect(readFileSync(file, "utf8")).toMatch(/^hfadm_/);
  });

  test.each<[string, string[], number, string]>([
    ["a mistyped flag", ["--nam", "x"], 2, "did you mean --name?"],
    ["a bad name", ["--name", "a b"], 2, "no host name or address"],
    ["a bad address", ["--listen", "here"], 2, "HOST:PORT"],
    ["an API for all the world", ["--api", "0.0.0.0:8442"], 2, "--api must be a loopback address"],
    ["a health port for all the world", ["--health", "10.0.0.1:1"], 2, "--health must be a loopback address"],
    ["a place that is read-only", ["--home", "/proc/holdfast-hub-test"], 1, "--home DIR"],
  ])("refuses %s", async (_name, args, code, message) => {
    const done = await cli("hub", "init", "--home", base, ...args);
    expect([done.code, done.out]).toEqual([code, ""]);
    expect(done.err).toContain(message);
    expect(readdirSync(base)).toEqual([]);
  });
});

describe("hub run", () => {
  test("serves API, agents and health; keeps everything over kill -9; ends with 0 on SIGTERM", async () => {
    const made = await init();
    const first = await startHub();
    const runFile = join(base, "hub/run.json");
    const { ready: _ready, ...urls } = first.urls;
    expect(JSON.parse(readFileSync(runFile, "utf8"))).toEqual({ pid: first.child.pid, ...urls });
    expect(await (await fetch(`${first.urls.health}/readyz?verbose`)).text()).toBe(
      "[+]store ok\n[+]sync ok\n[+]api ok\nready\n",
    );
    expect((await get(first.urls, "agents", "hfadm_wrong-token-wrong-token")).status).toBe(401);

    const certificates = await enroll(first.urls, made, "web-01");
    await expect(enroll(first.urls, made, "db-01")).rejects.toMatchObject({ code: "unauthenticated" });
    const stream = new StreamBuilder("e1");
    const session = await openSession(first.urls, certificates);
    expect(session.welcome.cursors).toEqual([]);
    await session.send(recordsFrame(stream.next(events("a", 100))));
    expect(await nextFrame(session)).toMatchObject({ $case: "ack", value: { cursor: { number: 100n } } });
    const agents = (await (await get(first.urls, "agents", made.adminToken)).json()) as { items: unknown[] };
    expect(agents.items).toMatchObject([
      { id: "web-01", status: "online", connected: true, labels: { role: "web" } },
    ]);
    const metrics = await (await fetch(`${first.urls.health}/metrics`)).text();
    expect(metrics).toContain('holdfast_hub_records_ingested_total{class="event"} 100');
    expect(metrics).toContain('holdfast_hub_sessions{status="online"} 1');
    expect(metrics).toContain("holdfast_hub_agents 1");

    first.child.kill("SIGKILL");
    await first.child.exited;
    expect((await session.closed).by).toBe("network");

    const second = await startHub();
    const again = await openSession(second.urls, certificates);
    expect(again.welcome.hubId).toBe(session.welcome.hubId);
    expect(again.welcome.cursors).toMatchObject([{ epoch: "e1", lane: 2, segment: 1, number: 100n }]);
    await again.send(recordsFrame(stream.next(events("b", 5))));
    expect(await nextFrame(again)).toMatchObject({ $case: "ack", value: { cursor: { number: 105n } } });
    const list = (await (await get(second.urls, "events?limit=1", made.adminToken)).json()) as {
      items: unknown[];
    };
    expect(list.items).toMatchObject([{ agent: "web-01", id: "b-4" }]);

    second.child.kill("SIGTERM");
    expect(await second.child.exited).toBe(0);
    expect((await again.closed).by).toBe("hub");
    expect(existsSync(runFile)).toBe(false);
    const log = readFileSync(join(base, "hub/logs/hub.log"), "utf8");
    for (const line of log.trim().split("\n")) expect(JSON.parse(line)).toHaveProperty("level");
    for (const secret of [made.adminToken, made.join.token]) expect(log).not.toContain(secret);
  });

  test("a second one on the same home names the first; another start after kill -9 is fine", async () => {
    await init();
    const { child } = await startHub();
    const second = spawnHub();
    expect(await second.exited).toBe(1);
    expect(await second.stderr.text()).toContain(`already running: pid ${child.pid} holds the lock`);
    expect(JSON.parse(readFileSync(join(base, "hub/run.json"), "utf8"))).toMatchObject({ pid: child.pid });
    child.kill("SIGKILL");
    await child.exited;
    await startHub();
  });

  test.each(["listen", "api", "health"])("a port in use for --%s names it and what to do", async (flag) => {
    await init();
    taken = createServer();
    await new Promise<void>((resolve) => taken!.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as { port: number };
    const child = spawnHub([`--${flag}`, `127.0.0.1:${port}`]);
    expect(await child.exited).toBe(1);
    const told = await child.stderr.text();
    expect(told).toContain(`cannot listen on 127.0.0.1:${port}: the port is in use by pid ${process.pid}`);
    expect(told).toContain(`--${flag}`);
    expect(existsSync(join(base, "hub/run.json"))).toBe(false);
  });

  test("ends when the parent that holds its stdin goes", async () => {
    await init();
    const { child } = await startHub([], { HOLDFAST_PARENT_PIPE: "1" });
    child.stdin.end();
    expect(await child.exited).toBe(0);
    expect(existsSync(join(base, "hub/run.json"))).toBe(false);
  });

  test("says what is wrong with its configuration, and where", async () => {
    await init();
    const file = join(base, "hub/config/hub.yaml");
    writeFileSync(file, `${readFileSync(file, "utf8")}colour: red\n`);
    const child = spawnHub();
    expect(await child.exited).toBe(1);
    expect(await child.stderr.text()).toMatch(/hub\.yaml:\d+:1: unknown key colour/);
  });

  test("refuses a home without a hub, and a database that this version does not know", async () => {
    const missing = spawnHub();
    expect(await missing.exited).toBe(3);
    expect(await missing.stderr.text()).toContain("holdfast hub init");
    await init();
    const postgres = spawnHub([], { HOLDFAST_HUB_DATABASE_URL: "postgres://x" });
    expect(await postgres.exited).toBe(1);
    expect(await postgres.stderr.text()).toContain("HOLDFAST_HUB_DATABASE_URL");
  });
});

describe("hub status", () => {
  test("says how the running hub does, and which exit code when there is none", async () => {
    expect((await cli("hub", "status", "--home", base)).code).toBe(3);
    await init();
    const stopped = await cli("hub", "status", "--home", base);
    expect([stopped.code, stopped.out]).toEqual([5, ""]);
    expect(stopped.err).toContain("hub run");
    const { child, urls } = await startHub();
    const { out, code } = await cli("hub", "status", "--home", base, "--json");
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      running: true,
      pid: child.pid,
      api: urls.api,
      status: "ok",
      phase: "running",
    });
    expect((await cli("hub", "status", "--home", base)).out).toContain(urls.api);
  });
});
