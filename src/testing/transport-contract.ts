import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { AgentFrame, Hello, HubFrame } from "../protocol/gen/holdfast/v1/sync.ts";
import { rowHash } from "../protocol/chain.ts";
import { MAX_FRAME_BYTES, type Session, type Transport } from "../protocol/transport.ts";
import { ZERO_HASH, type RecordBatch } from "../model/record.ts";
import { recordsFrame } from "../protocol/transport-frames.ts";
import { MemorySessions } from "./memory-sessions.ts";
import { steady, until } from "./until.ts";

export const AGENT_ID = "web-01";

export interface TransportRig {
  transport: Transport;
  cut(agentId: string, reason: string): void;
  /** Breaks the connection without a good-bye. */
  kill(): void;
  stop(): Promise<void>;
}

/** What every transport does; run it on each of them. */
export function transportContract(
  name: string,
  makeRig: (sessions: MemorySessions) => Promise<TransportRig>,
) {
  describe(`transport contract: ${name}`, () => {
    let sessions: MemorySessions;
    let rig: TransportRig;
    const connect = (hello = helloOf(AGENT_ID)) => rig.transport.connect(hello, new AbortController().signal);

    beforeEach(async () => {
      sessions = new MemorySessions();
      rig = await makeRig(sessions);
    });
    afterEach(() => rig.stop());

    test("hello brings the hub's welcome", async () => {
      const session = await connect();
      expect(session.welcome.hubId).toBe("hub-under-test");
      expect(sessions.hellos[0]?.labels).toEqual({ role: "web" });
      session.close();
    });

    test("frames arrive in order, and so do the answers", async () => {
      const session = await connect();
      const rows = new Rows();
      for (let n = 0; n < 200; n++) await session.send(rows.frame(10));
      const acks = await takeFrames(session, 200);
      expect(acks.map(ackedNumber)).toEqual(Array.from({ length: 200 }, (_, n) => (n + 1) * 10));
      expect(sessions.bodies(2).length).toBe(2000);
      expect(sessions.duplicates).toBe(0);
      session.close();
    });

    test("a hub that does not commit stops the sender", async () => {
      let open!: () => void;
      const gate = new Promise<void>((resolve) => (open = resolve));
      sessions.beforeIngest = () => gate;
      const session = await connect();
      const rows = new Rows();
      let sent = 0;
      const sending = (async () => {
        for (; sent < 400; sent++) await session.send(rows.frame(1, 64 * 1024));
      })();
      await until("the window to fill", () => sent >= 16);
      const stuck = await steady(() => sent);
      expect(stuck).toBeLessThan(250);
      open();
      await sending;
      await takeFrames(session, 400);
      expect(sessions.bodies(2).length).toBe(400);
      session.close();
    }, 15_000);

    test("a frame of 4 MB passes, a larger one is refused before it is sent, and the session lives on", async () => {
      const session = await connect();
      const rows = new Rows();
      await session.send(rows.frame(1, MAX_FRAME_BYTES - 1024));
      await expect(session.send(new Rows().frame(1, MAX_FRAME_BYTES + 1))).rejects.toMatchObject({
        code: "too_large",
      });
      await session.send(rows.frame(1));
      const acks = await takeFrames(session, 2);
      expect(acks.map(ackedNumber)).toEqual([1, 2]);
      session.close();
    });

    test("frames without a known kind are passed over", async () => {
      const session = await connect();
      await session.send({} as AgentFrame);
      await session.send(new Rows().frame(1));
      expect(ackedNumber((await takeFrames(session, 1))[0]!)).toBe(1);
      session.close();
    });

    test("the agent's good-bye comes after what it sent", async () => {
      const session = await connect();
      const rows = new Rows();
      for (let n = 0; n < 20; n++) await session.send(rows.frame(5, 10_000));
      session.close();
      expect(await session.closed).toMatchObject({ by: "agent", code: null });
      await until("the hub notices", () => sessions.left.length === 1);
      expect(sessions.bodies(2).length).toBe(100);
      await expect(session.send(rows.frame(1))).rejects.toMatchObject({ code: "unreachable" });
    });

    test("the hub's cut comes with its reason", async () => {
      const session = await connect();
      rig.cut(AGENT_ID, "revoked by an administrator");
      const end = await session.closed;
      expect(end).toMatchObject({ by: "hub", code: "unauthenticated" });
      expect(end.message).toContain("revoked by an administrator");
      expect(await takeFrames(session, 1)).toEqual([]);
      await expect(session.send(new Rows().frame(1))).rejects.toMatchObject({ code: "unreachable" });
      await until("the hub notices", () => sessions.left.length === 1);
    });

    test("a killed connection ends the session on both sides", async () => {
      const session = await connect();
      rig.kill();
      expect(await session.closed).toMatchObject({ by: "network", code: "unreachable" });
      await until("the hub notices", () => sessions.left.length === 1);
    });

    test("a newer session of the same agent replaces the older, and only the older", async () => {
      const older = await connect();
      const newer = await connect();
      const end = await older.closed;
      expect(end).toMatchObject({ by: "hub", code: "conflict" });
      expect(end.message).toContain("replaced by a newer");
      await newer.send(new Rows().frame(1));
      expect(ackedNumber((await takeFrames(newer, 1))[0]!)).toBe(1);
      expect(sessions.left).toEqual([]);
      newer.close();
    });

    test("an agent cannot speak for another id", async () => {
      await expect(connect(helloOf("db-01"))).rejects.toMatchObject({ code: "denied" });
      expect(sessions.hellos).toEqual([]);
    });

    test("what the hub refuses at hello is told", async () => {
      sessions.revoked.add(AGENT_ID);
      const refused = await connect().catch((error) => error);
      expect(refused).toMatchObject({ code: "unauthenticated" });
      expect(refused.message).toContain("was revoked");
    });

    test("malformed records end the session with an error frame", async () => {
      const session = await connect();
      const frame = new Rows().frame(1);
      (frame.frame as { value: { prevHash: Buffer } }).value.prevHash = Buffer.alloc(3);
      await session.send(frame);
      const [told] = await takeFrames(session, 1);
      expect(told?.frame).toMatchObject({ $case: "error", value: { code: "invalid" } });
      expect(await session.closed).toMatchObject({ by: "hub", code: "invalid" });
    });

    test("a gap is told with where to go on", async () => {
      const session = await connect();
      const rows = new Rows();
      rows.frame(5);
      for (let n = 0; n < 3; n++) await session.send(rows.frame(5));
      const [told] = await takeFrames(session, 1);
      expect(told?.frame).toMatchObject({ $case: "error", value: { code: "gap", cursor: { number: 0n } } });
      await session.send(new Rows().frame(5));
      expect(ackedNumber((await takeFrames(session, 1))[0]!)).toBe(5);
      session.close();
    });

    test("a connect that is aborted ends at once", async () => {
      const abort = new AbortController();
      abort.abort(new Error("stopping"));
      await expect(rig.transport.connect(helloOf(AGENT_ID), abort.signal)).rejects.toThrow("stopping");
    });
  });
}

export function helloOf(agentId: string): Hello {
  return {
    protocol: 1,
    capabilities: [],
    agentId,
    epoch: "epoch-1",
    labels: { role: "web" },
    facts: "{}",
    wallMs: 0n,
  };
}

/** Makes the rows of one stream, batch after batch, properly chained. */
export class Rows {
  #number = 0;
  #hash: Uint8Array = ZERO_HASH;

  frame(count: number, bytes = 20): AgentFrame {
    const first = this.#number + 1;
    const prevHash = this.#hash;
    const records: RecordBatch["records"] = [];
    for (let n = 0; n < count; n++) {
      const body = Buffer.alloc(bytes, `row ${++this.#number} `);
      this.#hash = rowHash(this.#hash, this.#number, 1, body);
      records.push({ number: this.#number, class: 1, body });
    }
    return recordsFrame({
      epoch: "epoch-1",
      lane: 2,
      segment: 1,
      first,
      prevHash,
      lastHash: this.#hash,
      records,
    });
  }
}

export async function takeFrames(session: Session, count: number): Promise<HubFrame[]> {
  const frames: HubFrame[] = [];
  const reader = session.frames[Symbol.asyncIterator]();
  while (frames.length < count) {
    const next = await reader.next();
    if (next.done) break;
    frames.push(next.value);
  }
  return frames;
}

function ackedNumber({ frame }: HubFrame): number {
  if (frame?.$case !== "ack")
    throw new Error(
      `not an ack: ${JSON.stringify(frame, (_k, v) => (typeof v === "bigint" ? Number(v) : v))}`,
    );
  return Number(frame.value.cursor!.number);
}
