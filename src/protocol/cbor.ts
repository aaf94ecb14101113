import { Encoder, setSizeLimits, Tag } from "cbor-x/encode";
import { HoldfastError, messageOf } from "../core/errors.ts";

declare module "cbor-x/encode" {
  // Both are there; the package's types forget them.
  class Tag {
    constructor(value: unknown, tag: number);
    readonly value: unknown;
    readonly tag: number;
  }
  function setSizeLimits(limits: { maxArraySize: number; maxMapSize: number; maxObjectSize: number }): void;
}

// The entry `encode`, which decodes too: the default one loads a native add-on from wherever it lies.
// Portable CBOR (RFC 8949) and nothing else: maps are `Map`s, so that whole numbers can be keys, and no record tags.
const codec = new Encoder({
  useRecords: false,
  mapsAsObjects: false,
  tagUint8Array: false,
  variableMapSize: true,
} as ConstructorParameters<typeof Encoder>[0]);

/** Entries in one array or map; a length on the wire reserves no memory for more. */
const MAX_ENTRIES = 20_000;
setSizeLimits({ maxArraySize: MAX_ENTRIES, maxMapSize: MAX_ENTRIES, maxObjectSize: MAX_ENTRIES });

export type CborMap = Map<unknown, unknown>;

/** Whole numbers over 2^32 must be given as `bigint`, or they become floats. */
export function encodeCbor(value: unknown): Buffer {
  // The encoder gives out a part of a buffer that it goes on using.
  return Buffer.from(codec.encode(value));
}

export function encodeTagged(tag: number, value: unknown): Buffer {
  return encodeCbor(new Tag(value, tag));
}

/** One value and nothing after it. Throws `invalid`. */
export function decodeCbor(bytes: Uint8Array): unknown {
  try {
    return codec.decode(bytes as Buffer);
  } catch (error) {
    throw new HoldfastError("invalid", `this is not CBOR: ${messageOf(error)}`);
  }
}

/** What stands behind a tag. Throws `invalid` when it is another tag, or none. */
export function decodeTagged(bytes: Uint8Array, tag: number): unknown {
  const value = decodeCbor(bytes);
  if (value instanceof Tag && value.tag === tag) return value.value;
  throw new HoldfastError("invalid", `this is not CBOR with tag ${tag}`);
}
