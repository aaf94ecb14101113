import type { Fault } from "./faults.ts";
import type { ErrorFrame } from "./storage-error.ts";

/**
 * What the storage thread and its client tell each other. A batch of writes crosses as ONE string, because Bun hands a
 * string over without walking it (0.2 µs an event; a structured clone of the objects takes 0.7, one JSON document 1.1):
 * ten digits with the length of the index, the index as JSON, then each operation's arguments and text.
 */
export type ToThread =
  | { kind: "open"; options: unknown; faults: Fault[] }
  | string
  | { kind: "read"; id: number; operation: string; args: unknown }
  | { kind: "close" };

export type Result = { ok: true; value: unknown } | { ok: false; error: ErrorFrame };

export type FromThread =
  | { kind: "opened"; facts: unknown }
  | { kind: "refused"; error: ErrorFrame }
  /** The answers to one batch, in order; `signal` is what the program tells of the commit. */
  | { kind: "committed"; results: Result[]; signal: unknown; problem: string | null; commits: number }
  | { kind: "read"; id: number; result: Result; problem: string | null }
  | { kind: "closed"; error: ErrorFrame | null };

/** A write as it waits to be sent: arguments are JSON already. */
export interface PackedWrite {
  operation: string;
  args: string;
  /** Bulk strings that need no parsing, laid end to end; the arguments say where each begins. */
  text: string;
}

export interface ReceivedWrite {
  operation: string;
  args: unknown;
  text: string;
}

const DIGITS = 10;

export function packBatch(writes: PackedWrite[]): string {
  const index: (string | number)[] = [];
  const parts: string[] = ["", ""];
  for (const write of writes) {
    index.push(write.operation, write.args.length, write.text.length);
    parts.push(write.args, write.text);
  }
  const head = JSON.stringify(index);
  parts[0] = String(head.length).padStart(DIGITS, "0");
  parts[1] = head;
  return parts.join("");
}

export function unpackBatch(batch: string): ReceivedWrite[] {
  let at = DIGITS + Number(batch.substring(0, DIGITS));
  const index = JSON.parse(batch.substring(DIGITS, at)) as (string | number)[];
  const writes: ReceivedWrite[] = [];
  for (let i = 0; i < index.length; i += 3) {
    const args = JSON.parse(batch.substring(at, (at += index[i + 1] as number))) as unknown;
    const text = batch.substring(at, (at += index[i + 2] as number));
    writes.push({ operation: index[i] as string, args, text });
  }
  return writes;
}
