import { X509Certificate } from "node:crypto";
import { HoldfastError, messageOf } from "../core/errors.ts";
import { lossText } from "../model/record.ts";
import type { ChainItem, HeaderItem, ReceiptItem, StreamItem, StreamName } from "./chain-items.ts";
import { type ChainReport, type Proof, type StreamReport, type ToldLoss, Totals } from "./chain-report.ts";
import { type ReceiptCertificate, receiptCertificate, receiptHolds } from "./receipts.ts";
import { type ChainProblem, problem, StreamWalk } from "./stream-walk.ts";

const SIGNING = { name: "ECDSA", hash: "SHA-256" } as const;
const CURVE = { name: "ECDSA", namedCurve: "P-256" } as const;

/** Checks chains, links, loss records, receipts and certificates of a store or an export, item by item. */
export class ChainVerifier {
  readonly #tell: (report: StreamReport) => void | Promise<void>;
  readonly #totals = new Totals();
  readonly #problems: string[] = [];
  readonly #authorities: X509Certificate[] = [];
  readonly #certificates = new Map<string, ReceiptCertificate>();
  #header: HeaderItem | undefined;
  #walk: StreamWalk | undefined;
  #receipts: ReceiptItem[] = [];
  #beside = 0;
  #last: (StreamReport & { hash: string; nextLink: string | null }) | undefined;

  /** `tell` is called with each stream as it ends. */
  constructor(tell: (report: StreamReport) => void | Promise<void>) {
    this.#tell = tell;
  }

  /** Returns a promise only where there is something to wait for. Throws `invalid` for items out of their order. */
  take(item: ChainItem): Promise<void> | undefined {
    switch (item.kind) {
      case "row":
        this.#stream(item.kind).take(item);
        return undefined;
      case "beside":
        this.#stream(item.kind);
        this.#beside++;
        return undefined;
      case "header":
        this.#header ??= item;
        return undefined;
      case "authority":
        this.#authority(item.certificate);
        return undefined;
      case "receipt-certificate":
        return this.#certificate(item.hub, item.certificate);
      case "stream":
        return this.#begin(item);
      case "receipt":
        return this.#receipt(item);
    }
  }

  /** Something that is wrong and of no stream. */
  note(problem: string): void {
    this.#problems.push(problem);
  }

  async end(): Promise<ChainReport> {
    await this.#finish();
    if (this.#header === undefined) throw new HoldfastError("invalid", "there is no header");
    const { side, agent, hub, epoch } = this.#header;
    const ok = this.#totals.whole && this.#problems.length === 0;
    return { ok, side, agent, hub, epoch, totals: this.#totals.totals, problems: this.#problems };
  }

  #stream(kind: string): StreamWalk {
    if (this.#walk !== undefined) return this.#walk;
    throw new HoldfastError("invalid", `a ${kind} comes before any stream`);
  }

  #authority(der: Uint8Array): void {
    try {
      this.#authorities.push(new X509Certificate(Buffer.from(der)));
    } catch (error) {
      this.note(`the certificate of a CA cannot be read: ${messageOf(error)}`);
    }
  }

  async #certificate(hub: string, der: Uint8Array): Promise<void> {
    try {
      const certificate = await receiptCertificate(der, this.#authorities);
      this.#certificates.set(`${hub}/${certificate.serial}`, certificate);
    } catch (error) {
      this.note(messageOf(error));
    }
  }

  async #begin(stream: StreamItem): Promise<void> {
    await this.#finish();
    this.#walk = new StreamWalk(stream);
  }

  /** Of the stream that is being read, or of one that is not here: then only its signature can be checked. */
  async #receipt(receipt: ReceiptItem): Promise<void> {
    const stream = this.#walk?.stream;
    if (stream !== undefined && sameStream(stream, receipt)) {
      this.#walk!.want(receipt.number);
      this.#receipts.push(receipt);
      return;
    }
    const wrong = await this.#signatureOf(receipt);
    if (wrong !== null) this.note(`a receipt for ${streamText(receipt)} does not hold: ${wrong}`);
  }

  async #finish(): Promise<void> {
    const walk = this.#walk;
    if (walk === undefined) return;
    const receipts = this.#receipts;
    this.#walk = undefined;
    this.#receipts = [];
    const { agent, epoch, lane, segment, after, acknowledged } = walk.stream;
    const problems: ChainProblem[] = [];
    const link = this.#linkProblem(walk.stream);
    const chain = walk.end() ?? this.#unfinishedProblem(walk);
    if (link !== null) problems.push(link);
    else if (chain !== null) problems.push(chain);
    const losses = await this.#losses(walk, problems);
    const report: StreamReport = {
      agent,
      epoch,
      lane,
      segment,
      first: after + 1,
      last: walk.number,
      rows: walk.rows,
      classes: Object.fromEntries(walk.classes),
      losses,
      lost: losses.reduce((sum, { first, last }) => sum + last - first + 1, 0),
      beside: this.#beside,
      acknowledged,
      proved: await this.#proof(walk, receipts, problems),
      unfinished: walk.unfinished,
      problems,
    };
    this.#beside = 0;
    this.#totals.add(report);
    this.#last = { ...report, hash: walk.hash, nextLink: walk.stream.nextLink };
    await this.#tell(report);
  }

  /** An agent has all of a segment that it has closed; on a hub rows of it may still be on their way. */
  #unfinishedProblem(walk: StreamWalk): ChainProblem | null {
    if (this.#header?.side !== "agent" || !walk.unfinished) return null;
    return problem("missing", walk.number + 1, "the next segment does not follow the last row");
  }

  /** What the segment before said of the first link of this one. */
  #linkProblem(stream: StreamItem): ChainProblem | null {
    const before = this.#last;
    if (before === undefined || !sameStream(before, { ...stream, segment: stream.segment - 1 })) return null;
    if (before.nextLink === stream.firstLink) return null;
    return problem(
      "altered",
      1,
      `its first link is not the one that segment ${before.segment} is told to have`,
    );
  }

  async #losses(walk: StreamWalk, problems: ChainProblem[]): Promise<ToldLoss[]> {
    const told: ToldLoss[] = [];
    for (const { loss, row } of walk.losses) {
      const { first, last, counts, reason, atMs } = loss;
      const good = await lossHolds(walk.stream, loss, row.publicKey);
      const atRest = this.#header?.side === "agent" && loss.signature === undefined;
      const signature = good ? "good" : atRest ? "at rest" : "wrong";
      told.push({ first, last, counts, reason, atMs, signature });
      if (signature !== "wrong") continue;
      problems.push(
        problem("signature", first, `the loss record from ${first} to ${last} is not signed by its agent`),
      );
    }
    return told;
  }

  async #proof(walk: StreamWalk, receipts: ReceiptItem[], problems: ChainProblem[]): Promise<Proof | null> {
    let proved: Proof | null = null;
    for (const receipt of receipts) {
      const { hub, number, hash, atMs } = receipt;
      const wrong = (await this.#signatureOf(receipt)) ?? contradicts(walk, number, hash);
      if (wrong !== null)
        problems.push(problem("receipt", number, `the receipt for row ${number}: ${wrong}`));
      else if (proved === null || number > proved.number) proved = { hub, number, atMs };
    }
    return proved;
  }

  async #signatureOf(item: ReceiptItem): Promise<string | null> {
    const { hub, key, atMs, signature, agent, epoch, lane, segment, number } = item;
    const certificate = this.#certificates.get(`${hub}/${key}`);
    if (certificate === undefined) return `there is no certificate of a trusted CA for its key ${key}`;
    const cursor = { epoch, lane, segment, number, hash: Buffer.from(item.hash, "hex") };
    const holds = await receiptHolds(agent, cursor, { hub, key, atMs, signature }, certificate.key);
    return holds ? null : "its signature is wrong";
  }
}

/** What a receipt says that the stream does not; a row that is not here any more, or after a fault, is not compared. */
function contradicts(walk: StreamWalk, number: number, hash: string): string | null {
  const { last, acknowledged } = walk.stream;
  if (number > last) return `the hub holds more rows than were written here (${last})`;
  if (acknowledged !== null && acknowledged < number)
    return `rows count as acknowledged only up to ${acknowledged}`;
  return (walk.hashAt(number) ?? hash) === hash ? null : "the hub holds another row than the one here";
}

async function lossHolds(
  stream: StreamName,
  loss: StreamWalk["losses"][number]["loss"],
  publicKey: Uint8Array | undefined,
): Promise<boolean> {
  if (loss.signature === undefined || publicKey === undefined) return false;
  try {
    const key = await crypto.subtle.importKey("spki", new Uint8Array(publicKey), CURVE, false, ["verify"]);
    const signature = new Uint8Array(Buffer.from(loss.signature, "base64"));
    return await crypto.subtle.verify(SIGNING, key, signature, Buffer.from(lossText(stream, loss)));
  } catch {
    return false;
  }
}

export function sameStream(a: StreamName, b: StreamName): boolean {
  return a.agent === b.agent && a.epoch === b.epoch && a.lane === b.lane && a.segment === b.segment;
}

export function streamText({ agent, epoch, lane, segment }: StreamName): string {
  return `agent ${agent}, epoch ${epoch}, lane ${lane}, segment ${segment}`;
}
