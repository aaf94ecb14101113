import type { Database } from "bun:sqlite";
import { HoldfastError } from "../../core/errors.ts";
import { formatSize } from "../../core/size.ts";
import { checkoutExpired, DEFAULT_MEMORY_LIMITS, type MemoryLimits } from "../../model/memory.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import type { MemoryCheckoutCommand, MemoryDeleteCommand, MemoryPutCommand } from "./commands.ts";
import type { KeyValues } from "./key-values.ts";
import { MemorySizes } from "./memory-sizes.ts";

const NUMBER = "memory_number";
/** Expired values that one operation deletes. */
const SWEEP = 1000;

/**
 * The memory that plugins share, and who may update what. Writes and checkouts draw from one row of numbers, which is
 * durable and only goes up: whatever happens, an old number is never given out again.
 */
export class MemoryRows {
  readonly #database: Database;
  readonly #values: KeyValues;
  readonly #limits: MemoryLimits;
  readonly #put;
  readonly #delete;
  readonly #sweep;
  readonly #checkOut;
  readonly #checkIn;
  readonly #free;
  readonly #find;
  readonly #expired;
  readonly #sizes: MemorySizes;
  /** Fence of each key that is checked out. */
  readonly #fences = new Map<string, number>();
  #number = 0;
  #drawn = false;

  constructor(
    database: Database,
    gate: WriteGate,
    values: KeyValues,
    limits: MemoryLimits = DEFAULT_MEMORY_LIMITS,
  ) {
    this.#database = database;
    this.#values = values;
    this.#limits = limits;
    this.#sizes = new MemorySizes(database, gate);
    const prepare = (label: string, sql: string) => gate.prepare(database, label, sql);
    this.#put = prepare(
      "memory.put",
      `INSERT INTO memory (namespace, key, version, changed_ms, expires_ms, bytes, value) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (namespace, key) DO UPDATE SET version = excluded.version, changed_ms = excluded.changed_ms,
          expires_ms = excluded.expires_ms, bytes = excluded.bytes, value = excluded.value`,
    );
    this.#delete = prepare("memory.delete", "DELETE FROM memory WHERE namespace = ? AND key = ?");
    this.#sweep = prepare("memory.sweep", "DELETE FROM memory WHERE n = ?");
    this.#checkOut = prepare(
      "memory_checkouts.put",
      `INSERT INTO memory_checkouts (namespace, key, fence) VALUES (?, ?, ?)
        ON CONFLICT (namespace, key) DO UPDATE SET fence = excluded.fence`,
    );
    this.#checkIn = prepare(
      "memory_checkouts.delete",
      "DELETE FROM memory_checkouts WHERE namespace = ? AND key = ?",
    );
    this.#free = prepare("memory_checkouts.free", "DELETE FROM memory_checkouts");
    this.#find = gate.statement(
      database,
      "SELECT version, changed_ms, expires_ms, bytes, value FROM memory WHERE namespace = ? AND key = ?",
    );
    this.#expired = gate.statement(
      database,
      `SELECT n, namespace, bytes FROM memory WHERE expires_ms IS NOT NULL AND expires_ms <= ?
        ORDER BY expires_ms LIMIT ?`,
    );
  }

  load(): void {
    this.#number = (this.#values.meta(NUMBER) as number | undefined) ?? 0;
    this.#drawn = false;
    this.#sizes.forget();
    this.#fences.clear();
    for (const { namespace, key, fence } of this.#database
      .query("SELECT namespace, key, fence FROM memory_checkouts")
      .all() as { namespace: string; key: string; fence: number }[])
      this.#fences.set(idOf(namespace, key), fence);
  }

  /** Once a transaction. */
  flush(): void {
    if (this.#drawn) this.#values.setMeta(NUMBER, this.#number);
    this.#drawn = false;
  }

  /** Resolves with the version. With a token only its holder changes the value, without one whoever holds it is told. */
  put({ namespace, key, expiresMs, nowMs, token }: MemoryPutCommand, text: string): number {
    this.#checkToken(namespace, key, token);
    const known = this.#row(namespace, key);
    const bytes = Buffer.byteLength(text);
    this.#makeRoom(namespace, known ? 0 : 1, bytes - (known?.bytes ?? 0), nowMs);
    // What was swept may have been this one.
    const before = known && this.#row(namespace, key);
    const version = this.#draw();
    this.#put(namespace, key, version, nowMs, expiresMs, bytes, text);
    this.#sizes.add(namespace, before ? 0 : 1, bytes - (before?.bytes ?? 0));
    this.#letGo(namespace, key);
    return version;
  }

  /** False when there was no value. Throws `expired` as `put` does. */
  delete({ namespace, key, nowMs, token }: MemoryDeleteCommand): boolean {
    this.#checkToken(namespace, key, token);
    const known = this.#row(namespace, key);
    this.#letGo(namespace, key);
    if (!known) return false;
    this.#delete(namespace, key);
    this.#sizes.add(namespace, -1, -known.bytes);
    return !isOver(known, nowMs);
  }

  /** Whoever held the key before holds it no more. */
  checkOut({ namespace, key, nowMs }: MemoryCheckoutCommand): { token: number; value: string | null } {
    const token = this.#draw();
    this.#checkOut(namespace, key, token);
    this.#fences.set(idOf(namespace, key), token);
    return { token, value: this.valueAt(namespace, key, nowMs) };
  }

  /** False when it was held no more. */
  checkIn(namespace: string, key: string, token: number): boolean {
    if (this.#fences.get(idOf(namespace, key)) !== token) return false;
    this.#letGo(namespace, key);
    return true;
  }

  /** At the start of an agent: who held something is gone. */
  freeAll(): void {
    if (this.#fences.size > 0) this.#free();
    this.#fences.clear();
  }

  /** Deletes some that are over; how many. */
  sweep(nowMs: number): number {
    const over = this.#expired.all(nowMs, SWEEP) as { n: number; namespace: string; bytes: number }[];
    for (const { n, namespace, bytes } of over) {
      this.#sweep(n);
      this.#sizes.add(namespace, -1, -bytes);
    }
    return over.length;
  }

  valueAt(namespace: string, key: string, nowMs: number): string | null {
    const row = this.#row(namespace, key);
    return row && !isOver(row, nowMs) ? row.value : null;
  }

  /** For a salvage: with the number that it had. */
  restore(row: MemoryRow & { namespace: string; key: string }): void {
    const { namespace, key, version, changed_ms, expires_ms, value } = row;
    JSON.parse(value);
    this.#put(namespace, key, version, changed_ms, expires_ms, Buffer.byteLength(value), value);
    if (version <= this.#number) return;
    this.#number = version;
    this.#drawn = true;
  }

  #row(namespace: string, key: string): MemoryRow | null {
    return this.#find.get(namespace, key) as MemoryRow | null;
  }

  #checkToken(namespace: string, key: string, token: number | null): void {
    if (token !== null && this.#fences.get(idOf(namespace, key)) !== token) throw checkoutExpired(key);
  }

  #letGo(namespace: string, key: string): void {
    if (this.#fences.delete(idOf(namespace, key))) this.#checkIn(namespace, key);
  }

  #makeRoom(namespace: string, keys: number, bytes: number, nowMs: number): void {
    if (this.#overLimit(namespace, keys, bytes) === null) return;
    while (this.sweep(nowMs) === SWEEP);
    const over = this.#overLimit(namespace, keys, bytes);
    if (over !== null)
      throw new HoldfastError(
        "exhausted",
        `the memory is full: ${over}; delete keys (holdfast memory remove), or set them with a time to live`,
      );
  }

  #overLimit(namespace: string, keys: number, bytes: number): string | null {
    if (keys <= 0 && bytes <= 0) return null;
    const own = this.#sizes.of(namespace);
    const all = this.#sizes.total();
    const limits = this.#limits;
    if (own.keys + keys > limits.namespaceKeys)
      return `namespace ${namespace} has ${own.keys} keys, at most ${limits.namespaceKeys}`;
    if (own.bytes + bytes > limits.namespaceBytes)
      return `namespace ${namespace} would have more than ${formatSize(limits.namespaceBytes)}`;
    if (all.keys + keys > limits.keys) return `this agent has ${all.keys} keys, at most ${limits.keys}`;
    if (all.bytes + bytes > limits.bytes)
      return `this agent would have more than ${formatSize(limits.bytes)}`;
    return null;
  }

  #draw(): number {
    this.#drawn = true;
    return ++this.#number;
  }
}

export interface MemoryRow {
  version: number;
  changed_ms: number;
  expires_ms: number | null;
  bytes: number;
  value: string;
}

export function isOver(row: { expires_ms: number | null }, nowMs: number): boolean {
  return row.expires_ms !== null && row.expires_ms <= nowMs;
}

/** Neither holds a space. */
function idOf(namespace: string, key: string): string {
  return `${namespace} ${key}`;
}
