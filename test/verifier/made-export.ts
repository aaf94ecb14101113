/** Exports as stores would give them, made of a seed: segments, loss records, receipts, epochs. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import { createCa, openCa } from "../../src/hub/enrollment/certificates.ts";
import { type LossRecordBody, lossText, RECORD_CLASSES } from "../../src/model/record.ts";
import { rowHash } from "../../src/protocol/chain.ts";
import type { ChainItem, StreamName } from "../../src/protocol/chain-items.ts";
import { chainLine } from "../../src/protocol/chain-lines.ts";
import { importReceiptKey, signReceipt } from "../../src/protocol/receipts.ts";
import { X509Certificate, createPrivateKey } from "node:crypto";

const HUB = "hub-1";
const AGENT = "web-01";
const ZERO = "00".repeat(32);

export interface Keys {
  authority: Uint8Array;
  certificate: Uint8Array;
  serial: string;
  receipt: CryptoKey;
  agent: { privateKey: KeyObject; publicKey: KeyObject };
}

export async function makeKeys(): Promise<Keys> {
  const nowMs = systemClock().wall();
  const ca = await openCa(await createCa("verifier test", nowMs, systemIds()), systemIds());
  const pair = await ca.receipts(nowMs);
  const certificate = new X509Certificate(pair.certificate);
  return {
    authority: new Uint8Array(ca.der),
    certificate: new Uint8Array(certificate.raw),
    serial: certificate.serialNumber.toLowerCase(),
    receipt: await importReceiptKey(createPrivateKey(pair.key).export({ type: "pkcs8", format: "der" })),
    agent: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  };
}

export type Side = "agent" | "hub";
/** A whole number below `below`. */
export type Pick = (below: number) => number;

/** Lines of an export that is whole. */
export async function makeExport(side: Side, keys: Keys, pick: Pick): Promise<string[]> {
  const [agent, hub] = side === "agent" ? [AGENT, null] : [null, HUB];
  const items: ChainItem[] = [
    { kind: "header", format: "holdfast-chains", version: 1, side, agent, hub, epoch: "e2", madeMs: 1 },
    { kind: "authority", certificate: keys.authority },
    { kind: "receipt-certificate", hub: HUB, certificate: keys.certificate },
  ];
  for (const epoch of ["e1", "e2"]) {
    for (const lane of [1, 2]) items.push(...(await makeLane({ side, epoch, lane, keys, pick })));
  }
  const lines = items.map(chainLine);
  return [...lines, chainLine({ kind: "end", lines: lines.length })];
}

interface Lane {
  side: Side;
  epoch: string;
  lane: number;
  keys: Keys;
  pick: Pick;
}

/** One to three segments; on a hub the first of several may not be finished. */
async function makeLane({ side, epoch, lane, keys, pick }: Lane): Promise<ChainItem[]> {
  const segments = 1 + pick(3);
  const made: ChainItem[][] = [];
  let link = ZERO;
  for (let segment = 1; segment <= segments; segment++) {
    const name = { agent: AGENT, epoch, lane, segment };
    const rows = makeRows(name, link, side, keys, pick);
    const end = rows.at(-1);
    const cut =
      side === "hub" && segment < segments && pick(3) === 0 ? rows.slice(0, 1 + pick(rows.length)) : rows;
    // An agent lets rows go that the hub has.
    const gone = side === "agent" ? pick(rows.length) : 0;
    made.push(await streamItems(name, link, cut, gone, side, keys));
    link = end?.hash ?? link;
    const next = made.length > 1 ? made.at(-2)![0]! : undefined;
    if (next?.kind === "stream") next.nextLink = (made.at(-1)![0] as { firstLink: string }).firstLink;
  }
  return made.flat();
}

type Row = Extract<ChainItem, { kind: "row" }>;

function makeRows(name: StreamName, link: string, side: Side, keys: Keys, pick: Pick): Row[] {
  const rows: Row[] = [];
  let previous = link;
  let number = 0;
  for (let left = 3 + pick(12); left > 0; left--) {
    const row =
      pick(5) === 0 ? lossRow(name, previous, number, side, keys, pick) : plainRow(previous, number, pick);
    rows.push(row);
    previous = row.hash;
    number = row.number;
  }
  return rows;
}

function plainRow(previous: string, before: number, pick: Pick): Row {
  const number = before + 1;
  const recordClass = [1, 2, 3, 200][pick(4)]!;
  const body = new TextEncoder().encode(JSON.stringify({ id: pick(1_000_000), text: "ä".repeat(pick(4)) }));
  const hash = rowHash(Buffer.from(previous, "hex"), number, recordClass, body).toHex();
  return { kind: "row", number, class: recordClass, hash, body };
}

function lossRow(
  name: StreamName,
  previous: string,
  before: number,
  side: Side,
  keys: Keys,
  pick: Pick,
): Row {
  const counts: Record<string, number> = { "10": 1 + pick(2000), "2": 1 + pick(50) };
  const first = before + 1;
  const last = before + counts["10"]! + counts["2"]!;
  const lastHash = new Bun.CryptoHasher("sha256").update(`${previous} ${last}`).digest("hex");
  const loss: LossRecordBody = { first, last, counts, prevHash: previous, lastHash, reason: "cap", atMs: 5 };
  const row = { kind: "row" as const, number: last, class: RECORD_CLASSES.loss, hash: lastHash };
  if (side === "agent") return { ...row, body: bytesOf(loss) };
  const key = { key: keys.agent.privateKey, dsaEncoding: "ieee-p1363" as const };
  const signature = sign("sha256", Buffer.from(lossText(name, loss)), key).toString("base64");
  const publicKey = new Uint8Array(keys.agent.publicKey.export({ type: "spki", format: "der" }));
  return { ...row, body: bytesOf({ ...loss, signature }), publicKey };
}

function bytesOf(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

async function streamItems(
  name: StreamName,
  firstLink: string,
  rows: Row[],
  gone: number,
  side: Side,
  keys: Keys,
): Promise<ChainItem[]> {
  const [before, end] = [rows[gone - 1], rows.at(-1)];
  const [after, afterHash] = [before?.number ?? 0, before?.hash ?? firstLink];
  const [last, lastHash] = [end?.number ?? 0, end?.hash ?? firstLink];
  const held = rows[Math.max(gone - 1, Math.floor(rows.length / 2))]!;
  const acknowledged = side === "agent" ? held.number : null;
  const stream: ChainItem = {
    ...{ kind: "stream", ...name, firstLink, nextLink: null, after, afterHash, last, lastHash, acknowledged },
  };
  const { number, hash } = held;
  const cursor = { ...name, number, hash: Buffer.from(hash, "hex") };
  const signature = new Uint8Array(await signReceipt(HUB, AGENT, cursor, 77, keys.receipt));
  const receipt: ChainItem = {
    ...{ kind: "receipt", ...name, hub: HUB, number, hash, key: keys.serial, atMs: 77, signature },
  };
  const { hash: _hash, publicKey: _key, ...forked } = held;
  const beside: ChainItem = { ...forked, kind: "beside", hash: "77".repeat(32) };
  return [
    stream,
    ...(side === "agent" ? [receipt] : []),
    ...rows.slice(gone),
    ...(side === "hub" ? [beside] : []),
  ];
}
