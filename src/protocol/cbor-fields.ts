import { HoldfastError } from "../core/errors.ts";
import type { CborMap } from "./cbor.ts";

/** How one kind of value goes into CBOR and out of it. `read` throws `invalid` for another type. */
export interface FieldType<T> {
  readonly empty: () => T;
  isEmpty(value: T): boolean;
  write(value: T): unknown;
  read(value: unknown, name: string): T;
}

/** A message: its fields, each with its number in sync.proto, which is its key in the map. */
export type Fields<T> = { [K in keyof T]-?: readonly [number, FieldType<T[K]>] };

const MAX_UINT64 = 2n ** 64n - 1n;

export const text: FieldType<string> = {
  empty: () => "",
  isEmpty: (value) => value === "",
  write: (value) => value,
  read: (value, name) => (typeof value === "string" ? value : wrong(name, "text")),
};

export const bytes: FieldType<Buffer> = {
  empty: () => Buffer.alloc(0),
  isEmpty: (value) => value.length === 0,
  write: (value) => value,
  // A view of what was received, which nobody else holds.
  read: (value, name) =>
    value instanceof Uint8Array
      ? Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      : wrong(name, "bytes"),
};

export const uint32: FieldType<number> = {
  empty: () => 0,
  isEmpty: (value) => value === 0,
  write: (value) => value,
  read: (value, name) =>
    typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 0xffffffff
      ? value
      : wrong(name, "a whole number below 2^32"),
};

export const uint64: FieldType<bigint> = {
  empty: () => 0n,
  isEmpty: (value) => value === 0n,
  write: (value) => (value <= 0xffffffffn ? Number(value) : value),
  read: (value, name) => {
    if (typeof value === "bigint" && value >= 0n && value <= MAX_UINT64) return value;
    return typeof value === "number" && Number.isSafeInteger(value) && value >= 0
      ? BigInt(value)
      : wrong(name, "a whole number below 2^64");
  },
};

/** `map<string, string>`. */
export const texts: FieldType<Record<string, string>> = {
  empty: () => ({}),
  isEmpty: (value) => Object.keys(value).length === 0,
  write: (value) => new Map(Object.entries(value)),
  read: (value, name) => {
    const read: Record<string, string> = Object.create(null);
    for (const [key, each] of requireMap(value, name)) read[text.read(key, name)] = text.read(each, name);
    return { ...read };
  },
};

export function list<T>(of: FieldType<T>): FieldType<T[]> {
  return {
    empty: () => [],
    isEmpty: (value) => value.length === 0,
    write: (value) => value.map((each) => of.write(each)),
    read: (value, name) =>
      Array.isArray(value) ? value.map((each) => of.read(each, name)) : wrong(name, "a list"),
  };
}

export function message<T>(fields: Fields<T>): FieldType<T> {
  const all = Object.entries(fields) as [keyof T & string, readonly [number, FieldType<unknown>]][];
  return {
    empty: () => Object.fromEntries(all.map(([name, [, type]]) => [name, type.empty()])) as T,
    isEmpty: () => false,
    write: (value) => {
      const map: CborMap = new Map();
      for (const [name, [key, type]] of all) {
        const field = value[name];
        if (field !== undefined && !type.isEmpty(field)) map.set(key, type.write(field));
      }
      return map;
    },
    // Keys of a newer version are passed over, and a field that is not there has its zero value, as in protobuf.
    read: (value, name) => {
      const map = requireMap(value, name);
      const read: Partial<T> = {};
      for (const [field, [key, type]] of all) {
        const found = map.get(key);
        read[field] = (
          found === undefined ? type.empty() : type.read(found, `${name}.${field}`)
        ) as T[typeof field];
      }
      return read as T;
    },
  };
}

/** A message that may be left out. */
export function optional<T>(of: FieldType<T>): FieldType<T | undefined> {
  return {
    empty: () => undefined,
    isEmpty: (value) => value === undefined,
    write: (value) => of.write(value as T),
    read: (value, name) => of.read(value, name),
  };
}

export function requireMap(value: unknown, name: string): CborMap {
  return value instanceof Map ? value : wrong(name, "a map");
}

function wrong(name: string, wanted: string): never {
  throw new HoldfastError("invalid", `malformed frame: ${name} is not ${wanted}`);
}
