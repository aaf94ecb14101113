import { systemClock } from "../core/clock.ts";
import { HoldfastError } from "../core/errors.ts";
import { silentLogger } from "../core/logger.ts";
import { type AgentStream, serveAgentStream } from "../hub/sync/agent-stream.ts";
import { LiveAgents } from "../hub/sync/live-agents.ts";
import type { SyncSessions } from "../hub/sync/sessions.ts";
import type { AgentFrame, HubFrame } from "../protocol/gen/holdfast/v1/sync.ts";
import type { Session, SessionEnd, Transport } from "../protocol/transport.ts";
import { frameBytes, requireFrameFits } from "../protocol/transport-frames.ts";
import { FrameQueue } from "../protocol/transport-queue.ts";

const HIGH = 16;

/** A hub and its transports in one process, with the hub's real stream handling and no network. */
export class LoopbackHub {
  readonly #live = new LiveAgents<AgentStream>();
  readonly #sessions: SyncSessions;
  readonly #links = new Set<Link>();

  constructor(sessions: SyncSessions) {
    this.#sessions = sessions;
  }

  /** A transport of an agent whose certificate says `agentId`. */
  transport(agentId: string): Transport {
    return {
      name: "loopback",
      connect: async (hello, signal): Promise<Session> => {
        signal.throwIfAborted();
        const link = new Link(agentId);
        this.#links.add(link);
        void serveAgentStream(link.hubSide, {
          sessions: this.#sessions,
          live: this.#live,
          clock: systemClock(),
          log: silentLogger(),
          helloTimeoutMs: 1000,
          ignored: () => {},
        });
        void link.closed.then(() => this.#links.delete(link));
        await link.send({ frame: { $case: "hello", value: hello } });
        await link.welcomed();
        return link;
      },
    };
  }

  cut(agentId: string, reason: string): void {
    this.#live.get(agentId)?.end(new HoldfastError("unauthenticated", reason));
  }

  /** Breaks every connection without a good-bye. */
  kill(): void {
    for (const link of this.#links) link.break();
  }
}

/** A pair of bounded queues; the agent's side is a Session. */
class Link implements Session {
  readonly frames: FrameQueue<HubFrame>;
  readonly closed: Promise<SessionEnd>;
  readonly hubSide: AgentStream;
  welcome!: Session["welcome"];
  readonly #up: FrameQueue<AgentFrame>;
  readonly #first: Promise<HubFrame | undefined>;
  #takeFirst: ((frame: HubFrame | undefined) => void) | undefined;
  #full: Promise<void> | undefined;
  #room: (() => void) | undefined;
  #resolveClosed!: (end: SessionEnd) => void;
  #end: SessionEnd | undefined;

  constructor(agentId: string) {
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    this.#first = new Promise((resolve) => (this.#takeFirst = resolve));
    this.frames = new FrameQueue(HIGH, { pause() {}, resume() {} });
    this.#up = new FrameQueue(HIGH, {
      pause: () => (this.#full = new Promise((resolve) => (this.#room = resolve))),
      resume: () => this.#unblock(),
    });
    this.hubSide = {
      agentId,
      certificateSerial: "01",
      publicKey: new Uint8Array(),
      peer: "loopback",
      transport: "loopback",
      frames: this.#up,
      send: async (frame) => {
        if (this.#takeFirst && frame.frame?.$case === "welcome") this.#takeFirst(frame);
        else if (!this.#takeFirst) this.frames.push(frame);
        if (frame.frame?.$case === "welcome") this.#takeFirst = undefined;
      },
      end: (error) =>
        this.#finish({
          by: "hub",
          code: error?.code ?? null,
          message: error ? `the hub says: ${error.message}` : "the hub closed the session",
        }),
    };
  }

  async welcomed(): Promise<void> {
    const first = await this.#first;
    if (first?.frame?.$case !== "welcome") {
      throw new HoldfastError(this.#end?.code ?? "unreachable", this.#end?.message ?? "no welcome");
    }
    this.welcome = first.frame.value;
  }

  async send(frame: AgentFrame): Promise<void> {
    requireFrameFits(frameBytes(frame));
    await this.#full;
    if (this.#end) throw new HoldfastError("unreachable", `the session is over: ${this.#end.message}`);
    this.#up.push(frame);
  }

  close(): void {
    this.#finish({ by: "agent", code: null, message: "the agent closed the session" });
  }

  break(): void {
    this.#finish({ by: "network", code: "unreachable", message: "the connection broke" });
  }

  #finish(end: SessionEnd): void {
    if (this.#end) return;
    this.#end = end;
    this.#takeFirst?.(undefined);
    this.#up.end();
    this.frames.end();
    this.#unblock();
    this.#resolveClosed(end);
  }

  #unblock(): void {
    this.#room?.();
    this.#full = undefined;
  }
}
