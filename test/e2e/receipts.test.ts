/**
 * What the hub signs, on the compiled executable: every row is signed for, a key changes under a live session, and a hub that
 * is set back to an older backup is told what it lost, with the proof, and gets it again. Python's cryptography checks the receipts.
 */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync, copyFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  buildExecutable,
  type Holdfast,
  runHoldfast,
  startHoldfast,
  temporaryHome,
  until,
} from "./harness.ts";
import { followLog, succeeds } from "./followed-log.ts";

const ID = "web-01";

interface SyncStatus {
  state: string;
  reconnects: number;
  receipts: Record<string, { number: number; key: string; segment: number }>;
  hubLost: { lane: string; held: number; number: number }[];
  counts: { receiptsVerified: number; receiptsWrong: number; hubLosses: number };
}

let executable: string;
let base: string;
let hubHome: string;
let home: string;
let log: string;
let hub: Holdfast;
let agent: Holdfast;
let hubArgs: string[];
let api: string[];

const holdfast = (...args: string[]) => succeeds(executable, args);

beforeAll(async () => {
  executable = await buildExecutable();
  base = temporaryHome();
  ({ hubHome, home, log, hub, hubArgs, api } = await followLog(executable, base, ID));
  agent = await startAgent();
}, 240_000);

afterAll(async () => {
  await Promise.all([hub, agent].map((each) => each?.kill()));
});

function startAgent(): Promise<Holdfast> {
  const args = ["agent", "run", "--home", home, "--id", ID, "--json"];
  return startHoldfast(executable, args, { HOLDFAST__HEALTH__LISTEN: "127.0.0.1:0" });
}

async function status(): Promise<SyncStatus> {
  const { stdout } = await runHoldfast(executable, [
    ...["agent", "status", "--home", home, "--id", ID, "--json"],
  ]);
  return (JSON.parse(stdout) as { sync: SyncStatus }).sync;
}

/** Writes so many lines and waits until the hub has signed for the events of all of them. */
async function write(from: number, to: number): Promise<SyncStatus> {
  for (let n = from; n <= to; n++) appendFileSync(log, `line ${n}\n`);
  let last: SyncStatus | undefined;
  const signed = async () => ((last = await status()).receipts.events?.number ?? 0) >= to;
  await until(`line ${to} is signed for`, signed, 60_000);
  return last!;
}

async function lines(): Promise<number[]> {
  const page = await holdfast("events", "list", ...api, "--type", "log.line", "--json", "--all");
  const rows = page
    .trim()
    .split("\n")
    .flatMap((line) => {
      const value = JSON.parse(line) as { items?: unknown[] };
      return value.items ?? [value];
    }) as { event: { data: { line: string } } }[];
  return rows.map(({ event }) => Number(event.data.line.split(" ")[1])).sort((a, b) => a - b);
}

/** Every receipt in the agent's store, checked by another program with the certificates that lie beside it. */
async function checkedByPython(): Promise<string> {
  const script = `
import sqlite3, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
ca = x509.load_pem_x509_certificate(open(sys.argv[2], "rb").read())
db = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True)
keys = {}
for serial, der in db.execute("SELECT serial, certificate FROM receipt_certificates"):
    certificate = x509.load_der_x509_certificate(der)
    ca.public_key().verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
    assert format(certificate.serial_number, "x") == serial, serial
    keys[serial] = certificate.public_key()
for hub, epoch, lane, segment, number, h, key, at, signature in db.execute(
    "SELECT hub, epoch, lane, segment, number, hash, key, at_ms, signature FROM receipts"):
    lines = ["holdfast receipt v1", hub, "${ID}", epoch, lane, segment, number, h.hex(), at]
    text = "\\n".join(map(str, lines)).encode()
    rs = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    keys[key].verify(rs, text, ec.ECDSA(hashes.SHA256()))
    print("good", lane, segment, number)
print(len(keys), "keys")
`;
  const root = join(home, `agent-${ID}`);
  const child = Bun.spawn(
    [
      "/usr/bin/python3",
      "-c",
      script,
      join(root, "data/state/agent.db"),
      join(root, "config/certificates/ca.crt"),
    ],
    { stdout: "pipe", stderr: "pipe" },
  );
  const [out, error, exit] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect([exit, error]).toEqual([0, ""]);
  return out;
}

test("signed, with a key that changes, and proved to a hub that has lost it", async () => {
  expect(statSync(join(hubHome, "hub/certificates/receipts.key")).mode & 0o777).toBe(0o600);
  const first = await write(1, 50);
  expect(first.counts).toMatchObject({ receiptsWrong: 0, hubLosses: 0 });

  const made = JSON.parse(await holdfast("hub", "rotate-receipt-key", ...api, "--json")) as {
    serial: string;
    certificates: number;
  };
  expect(made.certificates).toBe(2);
  const second = await write(51, 60);
  expect(second.receipts.events!.key).toBe(made.serial);
  expect(first.receipts.events!.key).not.toBe(made.serial);
  expect([second.reconnects, second.counts.receiptsWrong]).toEqual([0, 0]);

  const database = join(hubHome, "hub/data/hub.db");
  expect(await hub.stop()).toBe(0);
  copyFileSync(database, join(base, "backup.db"));
  hub = await startHoldfast(executable, hubArgs);
  await write(61, 80);
  expect(await hub.stop()).toBe(0);
  for (const suffix of ["-wal", "-shm"]) rmSync(database + suffix, { force: true });
  copyFileSync(join(base, "backup.db"), database);
  hub = await startHoldfast(executable, hubArgs);

  await until("the agent has told", async () => (await status()).counts.hubLosses === 1);
  await until("and it is mended", async () => (await status()).hubLost.length === 0);
  expect(await agent.stop()).toBe(0);
  const said = agent.stdout() + agent.stderr();
  const logged = await Bun.file(join(home, `agent-${ID}`, "logs/agent.log")).text();
  expect(said + logged).toContain("the hub lost rows it had acknowledged: rows 61 to 80 of lane events");
  agent = await startAgent();
  await write(81, 82);
  expect(await lines()).toEqual(Array.from({ length: 82 }, (_, index) => index + 1));
  const events = await holdfast("events", "list", ...api, "--type", "sync.hub.rows.lost", "--json");
  expect(events).toContain('"number":80');

  expect(await agent.stop()).toBe(0);
  const checked = await checkedByPython();
  expect(checked).toContain("2 keys");
  expect(checked).toMatch(/good 2 1 8[23]/);
  const db = new Database(database, { readonly: true });
  expect(db.query("SELECT count(*) AS keys FROM receipt_certificates").get()).toEqual({ keys: 2 });
  db.close();
}, 300_000);
