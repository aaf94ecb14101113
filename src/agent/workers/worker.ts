import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Manifest, PluginEntry } from "../../model/plugin.ts";
import { FrameChannel } from "./channel.ts";
import type { DownFrame, UpFrame } from "./frames.ts";
import type { Launched } from "./launch.ts";
import type { PluginOutput } from "./plugin-output.ts";
import type { WorkerTiming } from "./timing.ts";
import { parseUpFrame } from "./up-frame.ts";

const MISSED_PINGS = 3;
/** After the process is gone, for what it had written to still arrive. */
const TAIL_MS = 500;
/** For a process to exit after it reported a failure or closed its channel. */
const EXIT_MS = 2_000;

/** How a worker ended. Clean: it said that everything is finished, and exited with 0. */
export interface WorkerEnd {
  clean: boolean;
  reason: string;
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
  #unansweredPings = 0;
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
    const { entry, describe } = this.#options;
    const ready = await this.request({ kind: "load", entry, describe }, "ready");
    this.#ping();
    return ready.manifest;
  }

  /** Sends one frame. Throws `too_large` when it does not fit. */
  send(frame: DownFrame): void {
    this.#channel?.send(JSON.stringify(frame));
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

  /** Kills the process and everything in its group. */
  kill(reason: string): void {
    if (this.#over) return;
    this.#cause ??= reason;
    this.#options.launched.kill();
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
    const clean = this.#drained && exit.code === 0 && this.#cause === undefined;
    return { clean, reason: clean ? "stopped" : (this.#cause ?? `the worker died (${exit.text})`) };
  }

  #onClosed(reason: string | null): void {
    this.#channelClosed.resolve();
    if (reason !== null) return this.kill(`broke the channel: ${reason}`);
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
    let frame: UpFrame;
    try {
      frame = parseUpFrame(value);
      this.#dispatch(frame, bytes);
    } catch (error) {
      this.kill(`the plugin sent ${messageOf(error)}`);
      this.#channel?.close();
    }
  }

  #dispatch(frame: UpFrame, bytes: number): void {
    switch (frame.kind) {
      case "pong":
        this.#unansweredPings = 0;
        return;
      case "log":
        return this.#options.output.line(frame.level, frame.message, frame.fields);
      case "failed":
        this.#cause ??= frame.message;
        this.#killSoon(frame.message);
        return;
      case "drained":
        this.#drained = true;
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

  #ping(): void {
    const { clock, timing } = this.#options;
    // One ping a turn, so that a host that was suspended as a whole gives the answers a chance to arrive.
    this.#cancelPing = clock.after(timing.pingMs, () => {
      if (this.#over) return;
      if (this.#unansweredPings >= MISSED_PINGS) {
        return this.kill(`is hung: it left ${MISSED_PINGS} pings unanswered`);
      }
      this.#unansweredPings++;
      this.send({ kind: "ping", id: this.#unansweredPings });
      this.#ping();
    });
  }
}
