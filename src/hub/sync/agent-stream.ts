import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { type Common, commonCapabilities } from "../../protocol/capabilities.ts";
import type { AgentFrame, Heartbeat, Hello, HubFrame, Welcome } from "../../protocol/gen/holdfast/v1/sync.ts";
import { PROTOCOL_VERSION } from "../../protocol/transport.ts";
import { cursorOf, errorFrame } from "../../protocol/transport-frames.ts";
import { AckWriter } from "./ack-writer.ts";
import type { LiveAgents } from "./live-agents.ts";
import { RecordIntake } from "./record-intake.ts";
import type { SyncSessions } from "./sessions.ts";

/** One agent's stream, whatever carries it. The agent's id is proved by its certificate. */
export interface AgentStream {
  readonly agentId: string;
  readonly certificateSerial: string;
  /** Of its certificate: SPKI, DER. */
  readonly publicKey: Uint8Array;
  readonly peer: string;
  /** What carries it, as people are told. */
  readonly transport: string;
  /** Ends when the agent says good-bye, the network breaks, or `end` was called. */
  readonly frames: AsyncIterable<AgentFrame>;
  /** Resolves when there is room for more; never rejects: a broken stream shows as the end of `frames`. */
  send(frame: HubFrame): Promise<void>;
  /** With an error the agent is told its code and message. */
  end(error?: HoldfastError): void;
}

export interface ServeOptions {
  sessions: SyncSessions;
  live: LiveAgents<AgentStream>;
  clock: Clock;
  log: Logger;
  helloTimeoutMs: number;
  /** Counts frames that this version does not know. */
  ignored: () => void;
}

const MAX_TEXT_BYTES = 256 * 1024;
const MAX_LABELS = 64;

/** Serves one stream to its end. Never throws. */
export async function serveAgentStream(stream: AgentStream, options: ServeOptions): Promise<void> {
  const { agentId } = stream;
  const log = (message: string) => options.log.info(message, { agent: agentId, peer: stream.peer });
  try {
    const frames = stream.frames[Symbol.asyncIterator]();
    const hello = await firstHello(stream, frames, options);
    if (hello === null) return;
    const welcome = await options.sessions.hello(agentId, hello, stream.certificateSerial);
    options.live.enter(agentId, stream);
    options.sessions.opened(agentId, stream.transport);
    options.log.info("agent connected", { agent: agentId, peer: stream.peer, transport: stream.transport });
    await stream.send({ frame: { $case: "welcome", value: welcome } });
    const common = commonCapabilities(welcome.capabilities, hello.capabilities);
    await exchange(stream, frames, { welcome, common }, options);
    stream.end();
  } catch (error) {
    refuse(stream, error, options.log);
  } finally {
    if (options.live.leave(agentId, stream)) {
      log("agent disconnected");
      options.sessions.closed(agentId);
    }
  }
}

async function firstHello(
  stream: AgentStream,
  frames: AsyncIterator<AgentFrame>,
  { clock, helloTimeoutMs }: ServeOptions,
): Promise<Hello | null> {
  const cancel = clock.after(helloTimeoutMs, () =>
    stream.end(new HoldfastError("timed_out", `no hello within ${helloTimeoutMs / 1000} s`)),
  );
  const first = await frames.next();
  cancel();
  if (first.done) return null;
  const { frame } = first.value;
  if (frame?.$case !== "hello") throw new HoldfastError("invalid", "a session begins with a hello");
  checkHello(frame.value, stream.agentId);
  return frame.value;
}

function checkHello(hello: Hello, agentId: string): void {
  if (hello.agentId !== agentId) {
    throw new HoldfastError(
      "denied",
      `the certificate is for agent "${agentId}", but the hello says "${hello.agentId.slice(0, 64)}": ` +
        `an agent can only speak for itself; enroll this id on this host`,
    );
  }
  if (hello.protocol !== PROTOCOL_VERSION) {
    throw new HoldfastError(
      "invalid",
      `the agent speaks protocol ${hello.protocol}, this hub ${PROTOCOL_VERSION}: install matching versions`,
    );
  }
  const labels = Object.entries(hello.labels);
  const tooMuch =
    hello.facts.length > MAX_TEXT_BYTES ||
    hello.epoch.length < 1 ||
    hello.epoch.length > 64 ||
    labels.length > MAX_LABELS ||
    labels.some(([name, value]) => name.length > 128 || value.length > 1024);
  if (tooMuch) throw new HoldfastError("invalid", "the hello is malformed or larger than allowed");
}

async function exchange(
  stream: AgentStream,
  frames: AsyncIterator<AgentFrame>,
  { welcome, common }: { welcome: Welcome; common: Common },
  options: ServeOptions,
): Promise<void> {
  const acks = new AckWriter({
    agentId: stream.agentId,
    receipt: common.has("receipts")
      ? (agentId, cursor) => options.sessions.receipt(agentId, cursor)
      : undefined,
    certificates: welcome.receiptCertificates,
    send: (frame) => stream.send(frame),
  });
  const intake = new RecordIntake({
    agentId: stream.agentId,
    common,
    records: (agentId, batch) => options.sessions.records(agentId, batch, stream.publicKey),
    send: (frame) => stream.send(frame),
    acks,
    fail: (error) => refuse(stream, error, options.log),
  });
  // An ack may have got lost with the session before, and a cursor without a receipt proves nothing to the agent.
  if (common.has("receipts")) await intake.acknowledge(welcome.cursors.map(cursorOf));
  const beats = new LatestHeartbeat(stream, options);
  for (;;) {
    const next = await frames.next();
    if (next.done) break;
    const { frame } = next.value;
    if (frame?.$case === "records") await intake.take(frame.value);
    else if (frame?.$case === "heartbeat") beats.take(frame.value);
    else if (frame?.$case === "error") {
      const { code, message } = frame.value;
      options.log.warn(`agent reports: ${message.slice(0, 500)}`, {
        agent: stream.agentId,
        code: code.slice(0, 40),
      });
    } else options.ignored();
  }
  await intake.settled();
}

/** Takes heartbeats one at a time; while one is worked on, only the newest waits. */
class LatestHeartbeat {
  readonly #stream: AgentStream;
  readonly #options: ServeOptions;
  #waiting: Heartbeat | undefined;
  #busy = false;

  constructor(stream: AgentStream, options: ServeOptions) {
    this.#stream = stream;
    this.#options = options;
  }

  take(heartbeat: Heartbeat): void {
    if (heartbeat.status.length > MAX_TEXT_BYTES) {
      this.#options.log.warn("a heartbeat's status is too large and was dropped", {
        agent: this.#stream.agentId,
      });
      return;
    }
    this.#waiting = heartbeat;
    if (!this.#busy) void this.#work();
  }

  async #work(): Promise<void> {
    this.#busy = true;
    while (this.#waiting) {
      const heartbeat = this.#waiting;
      this.#waiting = undefined;
      await this.#options.sessions.heartbeat(this.#stream.agentId, heartbeat).catch((error: unknown) => {
        this.#options.log.warn(`a heartbeat was not taken: ${messageOf(error)}`, {
          agent: this.#stream.agentId,
        });
      });
    }
    this.#busy = false;
  }
}

/** Tells the agent why and ends the stream. What is not a HoldfastError is our fault and stays in our log. */
function refuse(stream: AgentStream, error: unknown, log: Logger): void {
  const told =
    error instanceof HoldfastError
      ? error
      : new HoldfastError("failed", "internal error of the hub; its log says more", { cause: error });
  log.warn(`session refused or broken off: ${messageOf(error)}`, {
    agent: stream.agentId,
    peer: stream.peer,
    code: told.code,
  });
  const retryAfterMs = told.retryable || told.code === "exhausted" ? 5000 : 0;
  void stream.send(errorFrame(told.code, told.message, undefined, retryAfterMs));
  stream.end(told);
}
