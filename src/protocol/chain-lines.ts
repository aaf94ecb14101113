import { HoldfastError, messageOf } from "../core/errors.ts";
import { type ChainItem, type EndItem, EXPORT_FORMAT, EXPORT_VERSION } from "./chain-items.ts";

/** Members that are bytes: base64 in the export. */
const BYTES = ["certificate", "signature", "body", "publicKey"];
const NAME = { agent: "string", epoch: "string", lane: "number", segment: "number" } as const;
const ROW = { number: "number", class: "class", hash: "hash", body: "bytes or null" } as const;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** What each kind of line must have. */
const MEMBERS: Record<string, Record<string, string>> = {
  header: {
    side: "string",
    agent: "string or null",
    hub: "string or null",
    epoch: "string",
    madeMs: "number",
  },
  authority: { certificate: "bytes" },
  "receipt-certificate": { hub: "string", certificate: "bytes" },
  stream: {
    ...NAME,
    firstLink: "hash",
    nextLink: "hash or null",
    after: "number",
    afterHash: "hash",
    last: "number",
    lastHash: "hash",
    acknowledged: "number or null",
  },
  receipt: {
    ...NAME,
    hub: "string",
    number: "number",
    hash: "hash",
    key: "string",
    atMs: "number",
    signature: "bytes",
  },
  row: ROW,
  beside: ROW,
  end: { lines: "number" },
};

/** An item as one line of an export, without the line's end. */
export function chainLine(item: ChainItem | EndItem): string {
  return JSON.stringify(item, (_name, value: unknown) =>
    value instanceof Uint8Array
      ? Buffer.from(value.buffer, value.byteOffset, value.length).toString("base64")
      : value,
  );
}

/** Reads one line of an export; null for a kind that this version does not know. Throws `invalid`. */
export function chainItem(line: string, number: number): ChainItem | EndItem | null {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(line) as Record<string, unknown>;
  } catch (error) {
    throw refused(number, `it is no JSON: ${messageOf(error)}`);
  }
  if (typeof value !== "object" || value === null || typeof value.kind !== "string") {
    throw refused(number, "it has no kind");
  }
  if (number === 1) checkHeader(value);
  if (!Object.hasOwn(MEMBERS, value.kind)) return null;
  for (const [name, type] of Object.entries(MEMBERS[value.kind]!)) {
    if (!hasType(value[name], type)) throw refused(number, `${name} is not of the type ${type}`);
  }
  if (value.publicKey !== undefined && !hasType(value.publicKey, "bytes"))
    throw refused(number, "publicKey is not of the type bytes");
  for (const name of BYTES) {
    if (typeof value[name] === "string") value[name] = new Uint8Array(Buffer.from(value[name], "base64"));
  }
  return value as unknown as ChainItem | EndItem;
}

function checkHeader(value: Record<string, unknown>): void {
  if (value.kind !== "header" || value.format !== EXPORT_FORMAT) {
    throw refused(1, "an export of chains begins with its header");
  }
  if (value.version === EXPORT_VERSION) return;
  throw refused(1, `it has version ${String(value.version)}, and this executable reads ${EXPORT_VERSION}`);
}

function hasType(value: unknown, type: string): boolean {
  if (value === null) return type.endsWith(" or null");
  if (type === "class") return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 255;
  if (type.startsWith("number")) return Number.isSafeInteger(value) && (value as number) >= 0;
  if (typeof value !== "string") return false;
  if (type.startsWith("bytes")) return BASE64.test(value);
  return type.startsWith("hash") ? /^[0-9a-f]{64}$/.test(value) : true;
}

function refused(line: number, why: string): HoldfastError {
  return new HoldfastError("invalid", `line ${line} of the export cannot be read: ${why}`);
}
