/** Ways to spoil an export, each as a store would be spoiled that was exported afterwards. */
import type { Pick } from "./made-export.ts";

type Line = Record<string, any>;

export interface Spoiled {
  lines: string[];
  /** What has to be found, where that can be said without verifying. */
  expected: string | undefined;
}

type Way = (items: Line[], at: number, pick: Pick) => string | undefined;

const isRow = (item: Line | undefined) => item?.kind === "row";
const isLoss = (item: Line) => item.class === 9;

/** Exchanges members of a row with those of the next one of its stream. */
function exchange(items: Line[], at: number, members: string[]): boolean {
  const [a, b] = [items[at]!, items[at + 1]];
  if (b === undefined || !isRow(b)) return false;
  for (const member of members) {
    const [ours, theirs] = [a[member], b[member]];
    for (const [row, value] of [
      [a, theirs],
      [b, ours],
    ] as const) {
      if (value === undefined) delete row[member];
      else row[member] = value;
    }
  }
  return true;
}

function flipped(text: string, pick: Pick): string {
  const bytes = Buffer.from(text, "base64");
  bytes[pick(bytes.length)]! ^= 1 << pick(8);
  return bytes.toString("base64");
}

/** The stream that a row is of. */
const streamOf = (items: Line[], at: number) => items.slice(0, at).findLast(({ kind }) => kind === "stream")!;

export const WAYS: Record<string, Way> = {
  "one bit of a body is flipped": (items, at, pick) => {
    const row = items[at]!;
    row.body = flipped(row.body, pick);
    return isLoss(row) ? undefined : "altered";
  },
  "a body is gone": (items, at) => {
    items[at]!.body = null;
    return isLoss(items[at]!) ? undefined : "altered";
  },
  "a class is another": (items, at) => {
    items[at]!.class = isLoss(items[at]!) ? 1 : (items[at]!.class % 8) + 1;
    return undefined;
  },
  "a hash is another": (items, at) => {
    items[at]!.hash = "ab".repeat(32);
    return "altered";
  },
  "a row is dropped": (items, at) => {
    items.splice(at, 1);
    return "missing";
  },
  "the rest of a stream is dropped": (items, at) => {
    let rows = 1;
    while (isRow(items[at + rows])) rows++;
    items.splice(at, rows);
    return "missing";
  },
  "two rows are swapped": (items, at) => {
    const first = items[at]!;
    if (!exchange(items, at, ["class", "hash", "body", "publicKey"])) return "";
    return isLoss(first) || isLoss(items[at]!) ? undefined : "reordered";
  },
  "two rows stand in the wrong order": (items, at) => {
    if (!isRow(items[at + 1])) return "";
    [items[at], items[at + 1]] = [items[at + 1]!, items[at]!];
    return "reordered";
  },
  "two bodies are swapped": (items, at) => {
    const rows = [items[at]!, items[at + 1]!];
    if (rows.some((row) => !isRow(row) || isLoss(row)) || rows[0]!.class !== rows[1]!.class) return "";
    if (rows[0]!.body === rows[1]!.body) return "";
    exchange(items, at, ["body"]);
    return "reordered";
  },
  "a row is there twice": (items, at) => {
    items.splice(at, 0, { ...items[at]! });
    return "reordered";
  },
  "the stream says that there is one more row": (items, at) => {
    streamOf(items, at).last++;
    return "missing";
  },
  "the stream says that there is one row less": (items, at) => {
    streamOf(items, at).last--;
    return "altered";
  },
  "the last hash is another": (items, at) => {
    streamOf(items, at).lastHash = "cd".repeat(32);
    return "altered";
  },
  "the first link is another": (items, at) => {
    streamOf(items, at).firstLink = "ef".repeat(32);
    return "altered";
  },
  "the next segment begins with another link": (items, at) => {
    const stream = streamOf(items, at);
    if (stream.nextLink === null) return "";
    stream.nextLink = "12".repeat(32);
    return "altered";
  },
  "a signature is another": (items, at, pick) => {
    const receipt = items.findLast(({ kind }, index) => index < at && kind === "receipt");
    if (receipt === undefined) return "";
    receipt.signature = flipped(receipt.signature, pick);
    return "receipt";
  },
  "a receipt is for another row": (items, at) => {
    const receipt = items.findLast(({ kind }, index) => index < at && kind === "receipt");
    if (receipt === undefined) return "";
    receipt.number++;
    return "receipt";
  },
  "the hub has acknowledged less than it has signed": (items, at) => {
    const stream = streamOf(items, at);
    if (!stream.acknowledged) return "";
    stream.acknowledged--;
    return "receipt";
  },
  "a loss record is signed by another": (items, at) => {
    const row = items.find((item, index) => index >= at && item.publicKey !== undefined);
    if (row === undefined) return "";
    const loss = JSON.parse(Buffer.from(row.body, "base64").toString());
    loss.atMs++;
    row.body = Buffer.from(JSON.stringify(loss)).toString("base64");
    return "signature";
  },
};

/** Undefined where it cannot be spoiled in this way. */
export function spoiled(lines: string[], way: Way, pick: Pick): Spoiled | undefined {
  const items = lines.slice(0, -1).map((line) => JSON.parse(line) as Line);
  const rows = [...items.keys()].filter((index) => isRow(items[index]));
  const expected = way(items, rows[pick(rows.length)]!, pick);
  if (expected === "") return undefined;
  const end = { kind: "end", lines: items.length };
  return { lines: [...items, end].map((item) => JSON.stringify(item)), expected };
}
