/** Acks and their receipts, over the real rooms of both sides: what counts, what does not, and what is proved by it. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createPrivateKey, randomUUID, X509Certificate } from "node:crypto";
import { copyFileSync, rmSync, writeFileSync } from "node:fs";
import { type StreamCursor, ZERO_HASH } from "../../model/record.ts";
import type { HubFrame, Receipt } from "../../protocol/gen/holdfast/v1/sync.ts";
import { importReceiptKey, signReceipt } from "../../protocol/receipts.ts";
import { cursorOf } from "../../protocol/transport-frames.ts";
import { AGENT, ReceiptAgent, receiptFolder, ReceiptHub, type Tamper } from "../../testing/receipt-rig.ts";
import { createTestCa } from "../../testing/test-ca.ts";
import { until } from "../../testing/until.ts";
import { commitOf, numbered } from "../store/store-fixtures.ts";

let folder: ReturnType<typeof receiptFolder>;
let hub: ReceiptHub;
let agents: ReceiptAgent[];
beforeEach(async () => {
  folder = receiptFolder();
  hub = await ReceiptHub.start(folder.path("hub.db"));
  agents = [];
});
afterEach(async () => {
  for (const agent of agents) await agent.stop();
  await hub.store.close();
  folder.remove();
});

async function start(options: Parameters<typeof ReceiptAgent.start>[2] = {}): Promise<ReceiptAgent> {
  const agent = await ReceiptAgent.start(folder.path("agent.db"), hub, options);
  agents.push(agent);
  return agent;
}

async function stop(agent: ReceiptAgent): Promise<void> {
  agents.splice(agents.indexOf(agent), 1);
  await agent.stop();
}

/** Commits so many events on the agent and waits until the hub has signed for them. */
async function tell(agent: ReceiptAgent, count: number, upTo: number): Promise<void> {
  await agent.store.commitEvents(commitOf(numbered(randomUUID(), count)));
  await until(`${upTo} rows signed for`, () => agent.sync.status().receipts.events?.number === upTo);
}

/** The same ack, with something else for a receipt. */
function withReceipt(change: (receipt: Receipt, cursor: StreamCursor) => Receipt | undefined): Tamper {
  return (frame) => {
    if (frame.frame?.$case !== "ack") return frame;
    const { cursor, receipt } = frame.frame.value;
    return { frame: { $case: "ack", value: { cursor, receipt: change(receipt!, cursorOf(cursor!)) } } };
  };
}

async function signedBy(pem: string, receipt: Receipt, cursor: StreamCursor, hubId: string): Promise<Buffer> {
  const pkcs8 = createPrivateKey(pem).export({ type: "pkcs8", format: "der" });
  return signReceipt(hubId, AGENT, cursor, Number(receipt.atMs), await importReceiptKey(pkcs8));
}

async function openssl(...args: string[]): Promise<string> {
  const run = Bun.spawn(["openssl", ...args], { stdout: "pipe", stderr: "pipe" });
  const [out, error] = await Promise.all([run.stdout.text(), run.stderr.text(), run.exited]);
  return out + error;
}

/** r then s, as DER. */
function derSignature(signature: Uint8Array): Buffer {
  const integer = (bytes: Buffer) => {
    const from = bytes.findIndex((byte) => byte !== 0);
    const short = bytes.subarray(from < 0 ? 31 : from);
    const body = short[0]! > 127 ? Buffer.concat([Buffer.of(0), short]) : short;
    return Buffer.concat([Buffer.of(2, body.length), body]);
  };
  const bytes = Buffer.from(signature);
  const body = Buffer.concat([integer(bytes.subarray(0, 32)), integer(bytes.subarray(32))]);
  return Buffer.concat([Buffer.of(0x30, body.length), body]);
}

describe("an ack with its receipt", () => {
  test("counts, and is kept so that OpenSSL can check it with the CA alone", async () => {
    const agent = await start();
    await tell(agent, 3, 3);
    await tell(agent, 2, 5);
    expect(await agent.unacknowledged()).toBe(0);
    const [kept] = await agent.store.receipts();
    const [certificate] = await agent.store.receiptCertificates();
    const { epoch, hash } = kept!.cursor;
    expect(kept!.cursor).toMatchObject({ lane: 2, segment: 1, number: 5 });
    expect(kept!.receipt).toMatchObject({ hub: hub.store.hubId, key: certificate!.serial });

    // By hand, from docs/sync.md.
    const hex = Buffer.from(hash).toString("hex");
    const lines = ["holdfast receipt v1", hub.store.hubId, AGENT, epoch, 2, 1, 5, hex, kept!.receipt.atMs];
    const pem = (der: Uint8Array) => new X509Certificate(Buffer.from(der)).toString();
    const files = ["text", "signature", "key.crt", "ca.crt", "key.pub"].map((name) => folder.path(name));
    const [text, signature, crt, ca, key] = files as [string, string, string, string, string];
    writeFileSync(text, lines.join("\n"));
    writeFileSync(signature, derSignature(kept!.receipt.signature));
    writeFileSync(crt, pem(certificate!.certificate));
    writeFileSync(ca, pem(certificate!.authority));
    expect(await openssl("verify", "-CAfile", ca, crt)).toContain("OK");
    writeFileSync(key, await openssl("x509", "-in", crt, "-pubkey", "-noout"));
    const verify = () => openssl("dgst", "-sha256", "-verify", key, "-signature", signature, text);
    expect(await verify()).toContain("Verified OK");
    writeFileSync(text, lines.with(6, 6).join("\n"));
    expect(await verify()).toContain("failure");
    const details = await openssl("x509", "-in", crt, "-noout", "-text");
    expect(details).toMatch(/Subject: CN ?= ?Holdfast receipts/);
    expect(details).toContain("Digital Signature");
    expect(details).not.toContain("Extended Key Usage");
  });

  test("is asked of the next session, when it was lost with the one before", async () => {
    let lost = false;
    const agent = await start({
      tamper: (frame) => {
        if (frame.frame?.$case !== "ack" || lost) return frame;
        lost = true;
        return undefined;
      },
    });
    await agent.store.commitEvents(commitOf(["a", "b"]));
    await until("the ack is lost", () => lost);
    expect(await agent.unacknowledged()).toBe(2);
    await stop(agent);
    const again = await start();
    await until("the hub has signed", () => again.sync.status().receipts.events?.number === 2);
    await until("nothing is behind", () => again.sync.status().lagRows === 0);
  });

  test("may come by a new key in the middle of a session, and old receipts stay good", async () => {
    const agent = await start();
    await tell(agent, 1, 1);
    const [first] = await agent.store.receipts();
    const { serial, certificates } = await hub.signer.rotate();
    expect(certificates).toBe(2);
    await tell(agent, 1, 2);
    expect(agent.sync.status()).toMatchObject({ reconnects: 0, receipts: { events: { key: serial } } });
    await tell(agent, 1, 3);
    const kept = await agent.store.receiptCertificates();
    expect(kept.map((row) => row.serial)).toEqual([first!.receipt.key, serial]);
    await stop(agent);
    // A hub that starts again has them all, the one in use last.
    await hub.store.close();
    await hub.open(hub.written.at(-1)!);
    expect(
      hub.signer.certificates().map((der) => new X509Certificate(der).serialNumber.toLowerCase()),
    ).toEqual([first!.receipt.key, serial]);
  });

  test("holds though its certificate has expired, and whatever the clocks say", async () => {
    await hub.store.close();
    await hub.open(await hub.ca.receipts(Date.UTC(2001, 0, 1)));
    const agent = await start();
    await tell(agent, 1, 1);
    const atMs = agent.sync.status().receipts.events!.atMs;
    const real = hub.clock.trusted;
    hub.clock.trusted = () => atMs - 10 * 365 * 86_400_000;
    await tell(agent, 1, 2);
    hub.clock.trusted = () => atMs + 10 * 365 * 86_400_000;
    await tell(agent, 1, 3);
    hub.clock.trusted = real;
    expect(agent.sync.status().counts).toMatchObject({ receiptsWrong: 0 });
    expect(await agent.unacknowledged()).toBe(0);
  });
});

test("of a hub that signs no more an ack counts without, as with any older one, and that is told", async () => {
  const agent = await start();
  await tell(agent, 2, 2);
  await stop(agent);
  const lines = await start({
    tamper: (frame) => {
      if (frame.frame?.$case === "welcome") frame.frame.value.capabilities = [];
      if (frame.frame?.$case === "ack") delete frame.frame.value.receipt;
      return frame;
    },
  });
  await lines.store.commitEvents(commitOf(["later"]));
  await until(
    "it is taken",
    () => lines.sync.status().state === "online" && lines.sync.status().lagRows === 0,
  );
  expect(lines.lines.join("\n")).toContain("has signed what it acknowledged, and does so no more");
  expect(lines.sync.status().receipts.events!.number).toBe(2);
});

describe("a wrong receipt ends the session, is counted and told, and the rows stay", () => {
  const other = createTestCa("another hub");
  const cases: [what: string, reason: RegExp, tamper: () => Tamper | Promise<Tamper>][] = [
    ["none at all", /without the receipt/, () => withReceipt(() => undefined)],
    [
      "a signature that was changed",
      /not its signature/,
      () =>
        withReceipt((receipt) => {
          const signature = Buffer.from(receipt.signature);
          signature[40]! ^= 1;
          return { ...receipt, signature };
        }),
    ],
    [
      "half a signature",
      /64 bytes/,
      () => withReceipt((receipt) => ({ ...receipt, signature: receipt.signature.subarray(0, 32) })),
    ],
    [
      "another time than was signed",
      /not its signature/,
      () => withReceipt((receipt) => ({ ...receipt, atMs: receipt.atMs + 1n })),
    ],
    [
      "another cursor than was signed",
      /not its signature/,
      () => (frame: HubFrame) => {
        if (frame.frame?.$case !== "ack") return frame;
        const { cursor, receipt } = frame.frame.value;
        const value = { cursor: { ...cursor!, number: cursor!.number - 1n }, receipt };
        return { frame: { $case: "ack" as const, value } };
      },
    ],
    [
      "that of an older cursor",
      /not its signature/,
      () => {
        let first: Receipt | undefined;
        return withReceipt((receipt, { number }) => (number > 1 ? first : (first = receipt)));
      },
    ],
    [
      "a key that no certificate vouches for",
      /no certificate/,
      () => withReceipt((receipt) => ({ ...receipt, key: "4f" })),
    ],
    [
      "the certificate of another CA brought along",
      /not of the hub's CA/,
      async () => {
        const pair = await (await other).agent("Holdfast receipts");
        const certificate = Buffer.from(new X509Certificate(pair.certificate).raw);
        return withReceipt((receipt) => ({ ...receipt, key: "4f", certificate }));
      },
    ],
  ];
  for (const [what, reason, make] of cases) {
    test(what, async () => {
      const tamper = await make();
      let on = false;
      const agent = await start({ tamper: (frame) => (on ? tamper(frame) : frame) });
      // The first ack of each case is genuine where a case needs an older one; then there is one more row.
      on = true;
      await agent.store.commitEvents(commitOf(["a"]));
      if (what === "that of an older cursor") {
        await until("the first ack", () => agent.sync.status().receipts.events?.number === 1);
      }
      await agent.store.commitEvents(commitOf(["b"]));
      await until("it is told", () => agent.sync.status().lastError !== null);
      expect(agent.sync.status().lastError).toMatch(reason);
      expect(agent.sync.status().counts.receiptsWrong).toBeGreaterThan(0);
      expect(agent.lines.join("\n")).toMatch(reason);
      expect(await agent.unacknowledged()).toBeGreaterThan(0);
      on = false;
      await until("all is signed for", () => agent.sync.status().receipts.events?.number === 2, 15_000);
      await until("nothing is behind", () => agent.sync.status().lagRows === 0);
    });
  }

  test("an agent's or the server's key signs none, though the same CA vouches for it", async () => {
    const server = await hub.ca.server(["hub.example"], Date.now());
    const der = Buffer.from(new X509Certificate(server.certificate).raw);
    const serial = new X509Certificate(server.certificate).serialNumber.toLowerCase();
    const pending = new Map<string, Buffer>();
    const agent = await start({
      tamper: (frame) => {
        if (frame.frame?.$case !== "ack") return frame;
        const { cursor, receipt } = frame.frame.value;
        const signature = pending.get(String(cursor!.number)) ?? receipt!.signature;
        const changed = { ...receipt!, key: serial, certificate: der, signature };
        return { frame: { $case: "ack", value: { cursor, receipt: changed } } };
      },
    });
    await agent.store.commitEvents(commitOf(["a"]));
    await until("it is told", () => agent.sync.status().lastError !== null);
    expect(agent.sync.status().lastError).toContain("not made for receipts");
    expect(await agent.unacknowledged()).toBe(1);
    const cursor = { epoch: "e", lane: 2, segment: 1, number: 1, hash: ZERO_HASH };
    expect(await signedBy(server.key, { atMs: 1n } as Receipt, cursor, "hub")).toHaveLength(64);
  });
});

describe("a hub that comes back with less than it signed for", () => {
  async function setBack(rows: { before: number; after: number }, sentRows?: number) {
    const backup = folder.path("backup.db");
    const agent = await start({ sentRows });
    await tell(agent, rows.before, rows.before);
    await agent.store.trim();
    await hub.store.close();
    copyFileSync(hub.file, backup);
    await hub.open(hub.written.at(-1)!);
    await stop(agent);
    const later = await start({ sentRows });
    await tell(later, rows.after, rows.before + rows.after);
    await until("all is acknowledged", () => later.sync.status().lagRows === 0);
    await later.store.trim();
    await stop(later);
    await hub.store.close();
    for (const suffix of ["-wal", "-shm"]) rmSync(hub.file + suffix, { force: true });
    copyFileSync(backup, hub.file);
    await hub.open(hub.written.at(-1)!);
  }

  test("is told so with the proof, gets them once more, and has signed for them again", async () => {
    await setBack({ before: 3, after: 4 });
    const agent = await start();
    await until("it is told", () => agent.sync.status().counts.hubLosses === 1);
    await until("all is there again", () => agent.sync.status().receipts.events?.number === 7);
    await until("it is whole", () => agent.sync.status().hubLost.length === 0);
    const said = agent.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    const line = said.find(({ message }) =>
      String(message).includes("the hub lost rows it had acknowledged"),
    );
    expect(line).toMatchObject({ level: "error", held: 3, number: 7, lane: 2, hub: hub.store.hubId });
    expect(agent.events).toMatchObject([
      { type: "sync.hub.rows.lost", severity: "error", data: { held: 3, number: 7 } },
    ]);
    expect(agent.sync.status().counts.hubLosses).toBe(1);
    expect((await hub.store.events({ limit: 100 })).length).toBe(7);
    const streams = await hub.store.agentStreams(AGENT);
    expect(streams.map(({ number, forked }) => [number, forked])).toEqual([[7, 0]]);
  });

  test("is told so also when the rows are gone here: a new epoch, and the proof stays", async () => {
    await setBack({ before: 3, after: 40 }, 1);
    const agent = await start({ sentRows: 1 });
    await until("it is told", () => agent.sync.status().counts.hubLosses === 1);
    await agent.store.commitEvents(commitOf(["new"]));
    await until("a new epoch", () => agent.lines.some((line) => line.includes("new epoch of this store")));
    await until("what is left is signed for", () => agent.sync.status().lagRows === 0);
    const receipts = await agent.store.receipts();
    expect(receipts.map(({ cursor }) => cursor.number)).toContain(43);
    expect(new Set(receipts.map(({ cursor }) => cursor.epoch)).size).toBe(2);
    expect((await hub.store.events({ limit: 100 })).some(({ id }) => id === "new")).toBe(true);
  });
});
