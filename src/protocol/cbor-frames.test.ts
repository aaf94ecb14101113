import { describe, expect, test } from "bun:test";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { agentFrames, hubFrames } from "./cbor-frames.ts";
import { AgentFrame, HubFrame } from "./gen/holdfast/v1/sync.ts";

const hash = Buffer.alloc(32, 7);
const cursor = { epoch: "e", lane: 2, segment: 1, number: 2n ** 53n + 1n, hash };
const upward: AgentFrame[] = [
  {
    frame: {
      $case: "hello",
      value: {
        protocol: 1,
        capabilities: ["loss", "zstd"],
        agentId: "web-01",
        epoch: "epoch",
        labels: { role: "web", __proto__x: "y" },
        facts: '{"a":"ä"}',
        wallMs: 1_790_000_000_000n,
      },
    },
  },
  { frame: { $case: "heartbeat", value: { sequence: 3n, wallMs: 2n ** 64n - 1n, status: "{}" } } },
  {
    frame: {
      $case: "records",
      value: {
        epoch: "e",
        lane: 2,
        segment: 4_294_967_295,
        first: 4_294_967_296n,
        prevHash: hash,
        lastHash: hash,
        records: [
          { class: 1, body: Buffer.from("body") },
          { class: 9, body: Buffer.alloc(0) },
        ],
        zstd: Buffer.from([1]),
      },
    },
  },
  { frame: { $case: "error", value: { code: "gap", message: "m", cursor: undefined, retryAfterMs: 0n } } },
];
const downward: HubFrame[] = [
  {
    frame: {
      $case: "welcome",
      value: {
        protocol: 1,
        capabilities: [],
        hubId: "hub",
        epoch: "h",
        wallMs: 1n,
        cursors: [cursor],
        receiptCertificates: [Buffer.from([1, 2])],
        backlogBytesPerSecond: 5n,
      },
    },
  },
  {
    frame: {
      $case: "ack",
      value: { cursor, receipt: { key: "ab", atMs: 9n, signature: hash, certificate: Buffer.alloc(0) } },
    },
  },
  { frame: { $case: "error", value: { code: "fork", message: "m", cursor, retryAfterMs: 7n } } },
];

describe("frames in CBOR", () => {
  test("come out as they went in, and as protobuf gives them", () => {
    for (const frame of upward) {
      const back = agentFrames.decode(agentFrames.encode(frame));
      expect(back).toEqual(frame);
      expect(AgentFrame.encode(back).finish()).toEqual(AgentFrame.encode(frame).finish());
    }
    for (const frame of downward) {
      const back = hubFrames.decode(hubFrames.encode(frame));
      expect(back).toEqual(frame);
      expect(HubFrame.encode(back).finish()).toEqual(HubFrame.encode(frame).finish());
    }
  });

  // When sync.proto has a frame more, it travels over MQTT too, or this says so.
  test("every field of the generated types is carried", () => {
    const all = [...upward, ...downward].map(({ frame }) => frame!.$case);
    expect(new Set(all)).toEqual(new Set(["hello", "heartbeat", "records", "error", "welcome", "ack"]));
    const empty = (case_: string, codec: typeof agentFrames | typeof hubFrames, key: number) => {
      const mine = codec.decode(encodeCbor(new Map([[key, new Map()]]))).frame as { value: object };
      const generated = (codec === agentFrames ? AgentFrame : HubFrame).decode(
        Buffer.from([(key << 3) | 2, 0]),
      ).frame as unknown as { $case: string; value: object };
      expect(generated.$case).toBe(case_);
      expect(Object.keys(mine.value).sort()).toEqual(Object.keys(generated.value).sort());
    };
    for (const [name, key] of [
      ["hello", 1],
      ["heartbeat", 2],
      ["records", 3],
      ["error", 15],
    ] as const) {
      empty(name, agentFrames, key);
    }
    for (const [name, key] of [
      ["welcome", 1],
      ["ack", 2],
      ["error", 15],
    ] as const)
      empty(name, hubFrames, key);
  });

  test("one of a kind that is not known has none; unknown keys are passed over", () => {
    expect(agentFrames.decode(encodeCbor(new Map([[99, new Map()]])))).toEqual({});
    expect(agentFrames.decode(agentFrames.encode({}))).toEqual({});
    const newer = encodeCbor(
      new Map([
        [
          2,
          new Map<number, unknown>([
            [1, 4],
            [77, "new"],
          ]),
        ],
      ]),
    );
    expect(agentFrames.decode(newer).frame).toMatchObject({ $case: "heartbeat", value: { sequence: 4n } });
  });

  test.each([
    ["no map", [1]],
    ["a message that is none", new Map([[1, "x"]])],
    ["a number for text", new Map([[1, new Map([[3, 5]])]])],
    ["text for a number", new Map([[1, new Map([[1, "1"]])]])],
    ["a negative number", new Map([[2, new Map([[1, -1]])]])],
    ["a fraction", new Map([[2, new Map([[1, 1.5]])]])],
    ["a number that is too large", new Map([[3, new Map([[2, 2n ** 33n]])]])],
    ["text for bytes", new Map([[3, new Map([[5, "x"]])]])],
    ["a map for a list", new Map([[3, new Map([[7, new Map()]])]])],
    ["null", new Map([[1, null]])],
  ])("%s is refused", (_what, value) => {
    expect(() => agentFrames.decode(encodeCbor(value))).toThrow("malformed frame");
  });

  test("a length that is only said reserves nothing", () => {
    expect(() => decodeCbor(Buffer.from("9a00ffffff", "hex"))).toThrow("not CBOR");
    expect(() => decodeCbor(Buffer.from("ba00ffffff", "hex"))).toThrow("not CBOR");
  });
});
