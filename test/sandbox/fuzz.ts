/** Frames as a hostile worker would write them: some right, most wrong in one place. */
const VALID = [
  { kind: "pong", id: 1 },
  { kind: "started" },
  { kind: "drained" },
  { kind: "log", level: "info", message: "hello", fields: { a: 1 } },
  { kind: "emit", seq: 1, events: [{ type: "a.b", data: { x: 1 } }], checkpoint: { at: 1 } },
  { kind: "result", id: 1, output: { a: [1, 2, 3] } },
  { kind: "error", id: 1, error: { message: "no", code: "failed", retryable: true, started: false } },
  { kind: "failed", message: "no" },
  { kind: "ready", manifest: { name: "a", kind: "action", description: "b", settings: {} } },
];

const STRANGE: unknown[] = [
  null,
  true,
  -1,
  1e308,
  0.5,
  "",
  "x".repeat(5000),
  "\u0000\ud800",
  [],
  {},
  { __proto__: null },
  JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}'),
  Array.from({ length: 1000 }, () => []),
];

/** Mulberry32. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function fuzzedFrame(random: () => number): Buffer {
  const of = <T>(items: T[]): T => items[Math.floor(random() * items.length)]!;
  const frame = structuredClone(of(VALID)) as Record<string, unknown>;
  const way = random();
  if (way < 0.5) change(frame, random, of);
  if (way < 0.02) return framed(Buffer.from(nested(100_000)));
  let body = Buffer.from(JSON.stringify(frame));
  if (way > 0.7 && way < 0.9) body = garbled(body, random);
  const bytes = framed(body);
  // A wrong length: more than there is, less than there is, nothing, or far too much.
  if (way > 0.9) bytes.writeUInt32BE(of([0, 1, body.length + 9, 0xffff_ffff, 0x7fff_ffff]), 0);
  return bytes;
}

function change(frame: Record<string, unknown>, random: () => number, of: <T>(items: T[]) => T): void {
  const key = of(Object.keys(frame));
  const inner = frame[key];
  if (typeof inner === "object" && inner !== null && random() < 0.6) {
    return change(inner as Record<string, unknown>, random, of);
  }
  if (random() < 0.2) delete frame[key];
  else frame[key] = of(STRANGE);
}

function garbled(body: Buffer, random: () => number): Buffer<ArrayBuffer> {
  const copy = Buffer.from(body);
  for (let times = 1 + Math.floor(random() * 4); times > 0; times--) {
    copy[Math.floor(random() * copy.length)] = Math.floor(random() * 256);
  }
  return copy;
}

function nested(depth: number): string {
  return "[".repeat(depth) + "]".repeat(depth);
}

function framed(body: Buffer): Buffer {
  const bytes = Buffer.alloc(4 + body.length);
  bytes.writeUInt32BE(body.length, 0);
  body.copy(bytes, 4);
  return bytes;
}
