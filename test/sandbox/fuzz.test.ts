/** Bytes on the channel, from a worker and to a worker: seeded, so that a failure can be played again. */
import { expect, test } from "bun:test";
import { HoldfastError } from "../../src/core/errors.ts";
import { FrameChannel, FrameReader } from "../../src/agent/workers/channel.ts";
import { MAX_FRAME_BYTES } from "../../src/agent/workers/frames.ts";
import { parseUpFrame } from "../../src/agent/workers/up-frame.ts";
import { fuzzedFrame, randomOf } from "./fuzz.ts";
import { until } from "../../src/testing/until.ts";
import { selfOf, type Started, unconfined } from "./starter.ts";
import { World } from "./world.ts";

const FRAMES = 10_000;
const SEED = Number(process.env.HOLDFAST_FUZZ_SEED ?? 20_261);

test(`frames from a worker: refused or understood, never anything else (seed ${SEED})`, () => {
  const random = randomOf(SEED);
  let understood = 0;
  let refused = 0;
  for (let at = 0; at < FRAMES; at++) {
    const reader = new FrameReader();
    const bytes = fuzzedFrame(random);
    try {
      for (let from = 0; from < bytes.length;) {
        const to = from + 1 + Math.floor(random() * bytes.length);
        reader.push(bytes.subarray(from, to), (frame) => {
          parseUpFrame(frame);
          understood++;
        });
        from = to;
      }
    } catch (error) {
      if (!(error instanceof HoldfastError))
        throw new Error(`frame ${at}: ${bytes.toString("latin1")}`, { cause: error });
      refused++;
    }
  }
  expect(understood).toBeGreaterThan(FRAMES / 20);
  expect(refused).toBeGreaterThan(FRAMES / 4);
});

test("a length over the limit is refused before a byte of it is kept", () => {
  const reader = new FrameReader();
  const header = Buffer.alloc(4);
  header.writeUInt32BE(MAX_FRAME_BYTES + 1);
  expect(() => reader.push(header, () => {})).toThrow("a frame of");
});

test("frames to a worker: it goes on or it ends, and this side never waits for it", async () => {
  const random = randomOf(SEED);
  const world = await World.open();
  const start = unconfined(selfOf(undefined), world.folder);
  let running: Started | undefined;
  let sent = 0;
  let lives = 0;
  let survived = 0;
  try {
    while (sent < FRAMES) {
      lives++;
      const worker = await start({ kind: "host", command: [], code: world.folder });
      running = worker;
      void new Response(worker.stdout).text();
      void new Response(worker.stderr).text();
      let closed = false;
      let answered = false;
      const channel = await FrameChannel.open(worker.channelFd, {
        frame(frame) {
          answered ||=
            (frame as { kind: string; id: number }).kind === "pong" && (frame as { id: number }).id === LAST;
        },
        closed() {
          closed = true;
        },
      });
      for (const upTo = sent + FRAMES / 20; sent < upTo && !closed; sent++) {
        // Whole frames of any JSON: what our own side could ever send.
        channel.send(
          JSON.stringify({
            kind: pick(random),
            id: Math.floor(random() * 9),
            seq: random(),
            settings: random(),
          }),
        );
        if (sent % 50 === 0) await Bun.sleep(0);
      }
      channel.send(JSON.stringify({ kind: "ping", id: LAST }));
      await until("the worker answers, or ends", () => answered || closed, 10_000);
      if (answered) survived++;
      worker.kill();
      await worker.exited;
      running = undefined;
      channel.close();
    }
  } finally {
    running?.kill();
    world.close();
  }
  expect(lives).toBeGreaterThanOrEqual(20);
  console.log(`${sent} frames to ${lives} workers, of which ${survived} went on`);
}, 60_000);

/** No other ping has this number. */
const LAST = 1_000_000;
const KINDS = [
  "load",
  "start_trigger",
  "emitted",
  "call",
  "cancel",
  "start_output",
  "write",
  "drain",
  "ping",
  "",
  "__proto__",
];

function pick(random: () => number): string {
  return KINDS[Math.floor(random() * KINDS.length)]!;
}
