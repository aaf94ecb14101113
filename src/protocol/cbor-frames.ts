import { decodeCbor, encodeCbor } from "./cbor.ts";
import {
  bytes,
  type FieldType,
  list,
  message,
  optional,
  requireMap,
  text,
  texts,
  uint32,
  uint64,
} from "./cbor-fields.ts";
import type * as wire from "./gen/holdfast/v1/sync.ts";

const cursor = message<wire.Cursor>({
  epoch: [1, text],
  lane: [2, uint32],
  segment: [3, uint32],
  number: [4, uint64],
  hash: [5, bytes],
});

const error = message<wire.ErrorFrame>({
  code: [1, text],
  message: [2, text],
  cursor: [3, optional(cursor)],
  retryAfterMs: [4, uint64],
});

const hello = message<wire.Hello>({
  protocol: [1, uint32],
  capabilities: [2, list(text)],
  agentId: [3, text],
  epoch: [4, text],
  labels: [5, texts],
  facts: [6, text],
  wallMs: [7, uint64],
});

const heartbeat = message<wire.Heartbeat>({ sequence: [1, uint64], wallMs: [2, uint64], status: [3, text] });

const records = message<wire.Records>({
  epoch: [1, text],
  lane: [2, uint32],
  segment: [3, uint32],
  first: [4, uint64],
  prevHash: [5, bytes],
  lastHash: [6, bytes],
  records: [7, list(message<wire.Record>({ class: [1, uint32], body: [2, bytes] }))],
  zstd: [8, bytes],
});

const welcome = message<wire.Welcome>({
  protocol: [1, uint32],
  capabilities: [2, list(text)],
  hubId: [3, text],
  epoch: [4, text],
  wallMs: [5, uint64],
  cursors: [6, list(cursor)],
  receiptCertificates: [7, list(bytes)],
  backlogBytesPerSecond: [8, uint64],
});

const receipt = message<wire.Receipt>({
  key: [1, text],
  atMs: [2, uint64],
  signature: [3, bytes],
  certificate: [4, bytes],
});

const ack = message<wire.Ack>({ cursor: [1, optional(cursor)], receipt: [2, optional(receipt)] });

interface AnyFrame {
  frame?: { $case: string; value: unknown } | undefined;
}

/** The cases of a frame by name, each with its number in sync.proto. */
type Cases<F extends AnyFrame> = {
  [K in NonNullable<F["frame"]>["$case"]]: readonly [
    number,
    FieldType<Extract<NonNullable<F["frame"]>, { $case: K }>["value"]>,
  ];
};

/** A frame in CBOR: a map with one entry, from the number of its case in sync.proto to its message. */
export interface FrameCodec<F> {
  encode(frame: F): Buffer;
  /** A case that this version does not know gives a frame without one. Throws `invalid`. */
  decode(data: Uint8Array): F;
}

export const agentFrames = frameCodec<wire.AgentFrame>({
  hello: [1, hello],
  heartbeat: [2, heartbeat],
  records: [3, records],
  error: [15, error],
});

export const hubFrames = frameCodec<wire.HubFrame>({
  welcome: [1, welcome],
  ack: [2, ack],
  error: [15, error],
});

function frameCodec<F extends AnyFrame>(cases: Cases<F>): FrameCodec<F> {
  const all = Object.entries(cases) as [string, readonly [number, FieldType<unknown>]][];
  return {
    encode({ frame }) {
      const known = all.find(([name]) => name === frame?.$case);
      return encodeCbor(
        known === undefined ? new Map() : new Map([[known[1][0], known[1][1].write(frame!.value)]]),
      );
    },
    decode(data) {
      const map = requireMap(decodeCbor(data), "a frame");
      for (const [name, [key, type]] of all) {
        if (map.has(key)) return { frame: { $case: name, value: type.read(map.get(key), name) } } as F;
      }
      return {} as F;
    },
  };
}
