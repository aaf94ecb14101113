import { celValue } from "../../model/cel-value.ts";
import type { Json } from "../../model/json.ts";

interface Known {
  values: Record<string, unknown>;
  expires: Map<string, number>;
  /** Nothing is over before. */
  nextExpiryMs: number;
  /** Keys that were changed while the store was being read; what was read of them is old. Null once it is read. */
  changed: Set<string> | null;
}

const NOTHING: Record<string, unknown> = Object.freeze(Object.create(null) as Record<string, unknown>);

/**
 * What `memory` is in expressions: the committed values of the namespaces that expressions name, as CEL sees them. The caller
 * tells of changes in the order of their commits.
 */
export class MemorySnapshot {
  readonly #trusted: () => number;
  readonly #known = new Map<string, Known>();

  constructor(trusted: () => number) {
    this.#trusted = trusted;
  }

  /** True when the namespace is there as a whole. */
  has(namespace: string): boolean {
    return this.#known.get(namespace)?.changed === null;
  }

  /** From here on changes are kept; `fill` follows. */
  begin(namespace: string): void {
    if (this.#known.has(namespace)) return;
    const values = Object.create(null) as Record<string, unknown>;
    this.#known.set(namespace, { values, expires: new Map(), nextExpiryMs: Infinity, changed: new Set() });
  }

  /** What the store held at some time after `begin`. */
  fill(namespace: string, rows: { key: string; expiresMs: number | null; value: Json }[]): void {
    const known = this.#known.get(namespace);
    if (!known?.changed) return;
    const { changed } = known;
    known.changed = null;
    for (const { key, value, expiresMs } of rows) if (!changed.has(key)) put(known, key, value, expiresMs);
  }

  put(namespace: string, key: string, value: Json, expiresMs: number | null): void {
    const known = this.#known.get(namespace);
    if (known) put(known, key, value, expiresMs);
  }

  remove(namespace: string, key: string): void {
    const known = this.#known.get(namespace);
    if (!known) return;
    known.changed?.add(key);
    delete known.values[key];
    known.expires.delete(key);
  }

  /** Not to be changed, and not to be kept. */
  values(namespace: string): Record<string, unknown> {
    const known = this.#known.get(namespace);
    if (!known) return NOTHING;
    const nowMs = this.#trusted();
    if (nowMs >= known.nextExpiryMs) sweep(known, nowMs);
    return known.values;
  }
}

function put(known: Known, key: string, value: Json, expiresMs: number | null): void {
  known.changed?.add(key);
  known.values[key] = celValue(value);
  if (expiresMs === null) return void known.expires.delete(key);
  known.expires.set(key, expiresMs);
  known.nextExpiryMs = Math.min(known.nextExpiryMs, expiresMs);
}

function sweep(known: Known, nowMs: number): void {
  known.nextExpiryMs = Infinity;
  for (const [key, atMs] of known.expires) {
    if (atMs > nowMs) known.nextExpiryMs = Math.min(known.nextExpiryMs, atMs);
    else {
      delete known.values[key];
      known.expires.delete(key);
    }
  }
}
