import type { Clock } from "../../core/clock.ts";
import { asHoldfastError, HoldfastError, messageOf } from "../../core/errors.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type { MemoryRequest } from "../../model/memory-request.ts";
import type { Manifest, PluginEntry } from "../../model/plugin.ts";
import type { EndCause, Verdict } from "../../model/worker-end.ts";
import { FrameChannel, OTHER_SIDE_GONE } from "./channel.ts";
import type { DownFrame, UpFrame } from "./frames.ts";
import type { Launched } from "./launch.ts";
import type { CallMark, PluginOutput } from "./plugin-output.ts";
import type { Masking } from "./secret-port.ts";
import type { WorkerTiming } from "./timing.ts";
import { isNetFrame } from "./network/net-frame.ts";
import { MAX_MESSAGE, parseUpFrame } from "./up-frame.ts";

const MISSED_PINGS = 3;
/** After the process is gone, for what it had written to still arrive. */
const TAIL_MS = 500;
/** For a process to exit after it reported a failure or closed its channel. */
const EXIT_MS = 2_000;
/** Host operations of one worker at once. */
const MAX_HOST_CALLS = 16;

/** How a worker ended. Clean: it said that everything is finished, and exited with 0. */
export interface WorkerEnd {
  clean: boolean;
  reason: string;
  verdict: Verdict;
}

export interface WorkerOptions {
  launched: Launched;
  entry: PluginEntry;
  /** Asks for the whole manifest with the settings schema. */
  describe: boolean;
  clock: Clock;
  output: PluginOutput;
  timing: WorkerTiming;
  /** Frames that belong to the plugin's work, checked. Throwing gives the worker up. */
  onFrame(frame: UpFrame, bytes: number): void;
  /** Of a call under way. */
  callOf?: ((call: number) => CallMark | undefined) | undefined;
  /** Does a host operation for the plugin, or throws why not. */
  onHost(operation: string, args: JsonObject): Promise<Json>;
  /** For everything that it says; what passes through to the network stays as it is. */
  masking: Masking;
  /** Answers what it asks of the memory, for one of its calls or for itself. */
  onMemory(call: number | null, request: MemoryRequest): Promise<Json>;
}

/** One worker process and its channel. Every byte that comes from it is hostile until `parseUpFrame` has passed it. */
export class Worker {
  /** Settles (never rejects) when the process is gone and everything it had said has been handled. */
  readonly ended: Promise<WorkerEnd>;
  readonly #options: WorkerOptions;
  #channel: FrameChannel | undefined;
  #channelClosed = Promise.withResolvers<void>();
  #waits: { kind: UpFrame["kind"]; resolve(frame: UpFrame): void }[] = [];
  /** The first known cause of the end; what follows from it does not replace it. */
  #cause: string | undefined;
  #drained = false;
  #over = false;
  /** Ends the reading of what outlives the process. */
  readonly #tail = new AbortController();
  /** Of these three are too many; one in a time in which it was mostly stopped counts as little as it could run. */
  #unansweredPings = 0;
  #throttledMs = 0;
  #pings = 0;
  #hostCalls = 0;
  #sockets = Promise.withResolvers<void>();
  #cancelPing = () => {};

  constructor(options: WorkerOptions) {
    this.#options = options;
    const { launched, output } = options;
    const pipes = Promise.all([
      output.pipe(launched.stdout, "stdout", this.#tail.signal),
      output.pipe(launched.stderr, "stderr", this.#tail.signal),
    ]).catch(() => {});
    this.ended = this.#watch(pipes);
  }

  get pid(): number {
    return this.#options.launched.pid;
  }

  /** True from the moment that its end is certain; nothing should be sent to it any more. */
  get dying(): boolean {
    return this.#over || this.#cause !== undefined;
  }

  /** Loads the plugin; resolves with what it declares. Rejects, with the worker killed, when it cannot. */
  async load(): Promise<Manifest> {
    try {
      this.#channel = await FrameChannel.open(this.#options.launched.channelFd, {
        frame: (frame, bytes) => this.#onFrame(frame, bytes),
        closed: (reason) => this.#onClosed(reason),
      });
    } catch (error) {
      this.kill(`has no channel: ${messageOf(error)}`);
    }
    const { entry, describe, launched } = this.#options;
    if (launched.awaitsSockets) await this.#handOver();
    const ready = await this.request({ kind: "load", entry, describe }, "ready");
    this.#ping();
    return ready.manifest;
  }

  /** Sends one frame. Throws `too_large` when it does not fit. */
  send(frame: DownFrame): void {
    this.#channel?.send(JSON.stringify(frame));
  }

  /** Like `send`, together with others of the same turn. */
  sendSoon(frame: DownFrame): void {
    this.#channel?.sendSoon(JSON.stringify(frame));
  }

  /** Sends a frame and waits, up to `startMs`, for the answer of this kind. Rejects, with the worker killed, with why not. */
  async request<K extends UpFrame["kind"]>(
    frame: DownFrame,
    answer: K,
  ): Promise<Extract<UpFrame, { kind: K }>> {
    const { clock, timing } = this.#options;
    const cancel = clock.after(timing.startMs, () =>
      this.kill(`did not answer ${frame.kind} within ${timing.startMs} ms`),
    );
    try {
      const answered = new Promise<UpFrame>((resolve) => this.#waits.push({ kind: answer, resolve }));
      this.send(frame);
      const first = await Promise.race([answered, this.ended]);
      if ("kind" in first) return first as Extract<UpFrame, { kind: K }>;
      throw new HoldfastError("failed", first.reason);
    } catch (error) {
      this.kill(messageOf(error));
      throw error;
    } finally {
      cancel();
    }
  }

  /** Refusals by the agent so far. */
  denials(): readonly string[] {
    return this.#options.launched.denials();
  }

  /** Kills the process and everything that it started. */
  kill(reason: string, cause?: EndCause): void {
    if (this.#over) return;
    this.#cause ??= reason;
    this.#options.launched.kill(
      cause === undefined ? { text: reason } : { cause, text: `${cause}: ${reason}` },
    );
  }

  /** Waits until the launcher has handed over the sockets of the worker's network, and lets it go on. */
  async #handOver(): Promise<void> {
    const { clock, timing } = this.#options;
    const cancel = clock.after(timing.startMs, () => this.kill(`had no network within ${timing.startMs} ms`));
    try {
      await Promise.race([this.#sockets.promise, this.ended]);
    } finally {
      cancel();
    }
    this.send({ kind: "go" });
  }

  /** Lets it finish what is under way, then ends it. */
  async stop(): Promise<void> {
    const { clock, timing } = this.#options;
    this.send({ kind: "drain" });
    const cancel = clock.after(timing.drainMs, () => this.kill(`did not stop within ${timing.drainMs} ms`));
    await this.ended;
    cancel();
  }

  async #watch(pipes: Promise<unknown>): Promise<WorkerEnd> {
    const { launched, clock } = this.#options;
    const exit = await launched.exited;
    this.#cancelPing();
    // Frames written just before the end are still in the socket; so are lines in the pipes.
    const rest = Promise.all([pipes, this.#channel ? this.#channelClosed.promise : undefined]);
    await Promise.race([rest, clock.sleep(TAIL_MS, this.#tail.signal).catch(() => {})]);
    this.#tail.abort();
    this.#over = true;
    this.#channel?.close();
    const { verdict } = exit;
    const clean = this.#drained && exit.code === 0 && this.#cause === undefined;
    if (clean) return { clean, reason: "stopped", verdict };
    const reason = this.#reason(verdict);
    this.#options.output.line("error", `the worker ended: ${reason}`, {
      ...verdict,
      peak: { ...verdict.peak },
    });
    return { clean, reason, verdict };
  }

  /** A limit that was hit explains more than what the plugin said about its own end. */
  #reason({ cause, text }: Verdict): string {
    const told = this.#cause;
    if (cause === "crashed" || cause === "exited") return told ?? `the worker died: ${text}`;
    return told === undefined || told.includes(text) || text.includes(told) ? text : `${text} (${told})`;
  }

  #onClosed(reason: string | null): void {
    this.#channelClosed.resolve();
    if (reason !== null && reason !== OTHER_SIDE_GONE) return this.kill(`broke the channel: ${reason}`);
    this.#killSoon("closed its channel");
  }

  /** A host that gives up exits by itself; one that stays is of no use any more. */
  #killSoon(reason: string): void {
    void this.#options.clock.sleep(EXIT_MS, this.#tail.signal).then(
      () => this.kill(reason),
      () => {},
    );
  }

  #onFrame(value: unknown, bytes: number): void {
    try {
      const { channelNetwork } = this.#options.launched;
      if (channelNetwork && isNetFrame(value)) {
        return channelNetwork.receive(value, (down) => this.#channel?.send(JSON.stringify(down)));
      }
      // Events come through here by the hundred thousand: whoever records them masks them, a batch at once.
      const isEmit = (value as { kind?: unknown } | null)?.kind === "emit";
      this.#dispatch(parseUpFrame(isEmit ? value : this.#options.masking.maskValue(value)), bytes);
    } catch (error) {
      this.kill(`the plugin sent ${messageOf(error)}`);
      this.#channel?.close();
    }
  }

  #log({ level, message, fields, call }: Extract<UpFrame, { kind: "log" }>): void {
    const of = call === undefined ? undefined : this.#options.callOf?.(call);
    this.#options.output.line(level, message, fields, of);
  }

  #dispatch(frame: UpFrame, bytes: number): void {
    switch (frame.kind) {
      case "pong":
        this.#unansweredPings = 0;
        return;
      case "log":
        return this.#log(frame);
      case "failed":
        this.#cause ??= frame.message;
        if (frame.tooManyFiles) this.#options.launched.noteTooManyFiles();
        this.#killSoon(frame.message);
        return;
      case "drained":
        this.#drained = true;
        return;
      case "host":
        void this.#host(frame);
        return;
      case "memory":
        void this.#memory(frame);
        return;
      case "sockets":
        if (!this.#options.launched.awaitsSockets)
          throw new HoldfastError("invalid", "sockets that nobody asked for");
        this.#options.launched
          .adoptSockets(frame)
          .then(this.#sockets.resolve, (error: unknown) => this.kill(`has no network: ${messageOf(error)}`));
        return;
      case "ready":
      case "started": {
        const at = this.#waits.findIndex((wait) => wait.kind === frame.kind);
        if (at === -1) throw new HoldfastError("invalid", `a frame \`${frame.kind}\` that nobody asked for`);
        this.#waits.splice(at, 1)[0]!.resolve(frame);
        return;
      }
      default:
        this.#options.onFrame(frame, bytes);
    }
  }

  async #host({ id, operation, arguments: args }: Extract<UpFrame, { kind: "host" }>): Promise<void> {
    if (this.#hostCalls >= MAX_HOST_CALLS) {
      const message = `${MAX_HOST_CALLS} host operations of one worker are under way`;
      return this.send({ kind: "host_error", id, error: { code: "busy", message } });
    }
    this.#hostCalls++;
    try {
      const result = await this.#options.onHost(operation, args);
      this.send({ kind: "host_result", id, result });
    } catch (error) {
      const { code, message } = asHoldfastError(error, operation);
      if (code === "denied") this.#options.launched.noteDenial(message.replace(/^denied: /, ""));
      this.send({ kind: "host_error", id, error: { code, message } });
    } finally {
      this.#hostCalls--;
    }
  }

  async #memory({ id, call, request }: Extract<UpFrame, { kind: "memory" }>): Promise<void> {
    try {
      const result = await this.#options.onMemory(call, request);
      this.send({ kind: "memory_result", id, result });
    } catch (error) {
      const { code, message } = asHoldfastError(error, "memory");
      if (code === "denied") this.#options.launched.noteDenial(message.replace(/^denied: /, ""));
      this.send({ kind: "memory_error", id, error: { code, message: message.slice(0, MAX_MESSAGE) } });
    }
  }

  #ping(): void {
    const { clock, timing } = this.#options;
    // One ping a turn, so that a host that was suspended as a whole gives the answers a chance to arrive.
    this.#cancelPing = clock.after(timing.pingMs, () => {
      if (this.#over) return;
      if (this.#unansweredPings >= MISSED_PINGS) {
        return this.kill(`is hung: it left ${MISSED_PINGS} pings unanswered`, "time");
      }
      const stopped = this.#options.launched.throttledMs() - this.#throttledMs;
      this.#throttledMs += stopped;
      this.#unansweredPings += Math.max(0.05, 1 - stopped / timing.pingMs);
      this.send({ kind: "ping", id: ++this.#pings });
      this.#ping();
    });
  }
}
