import { compileHotCode } from "../../core/jit.ts";
import { systemClock } from "../../core/clock.ts";
import { cutText } from "../../core/cut-text.ts";
import { messageOf } from "../../core/errors.ts";
import type { JsonObject } from "../../model/json.ts";
import { bareManifest } from "../../sdk/definition.ts";
import type { PluginDefinition, PluginLog } from "../../sdk/holdfast.ts";
import { pluginClock } from "../../sdk/plugin-clock.ts";
import { FrameChannel } from "./channel.ts";
import type { DownFrame, UpFrame } from "./frames.ts";
import { HostAsker, isAnswer } from "./host-asker.ts";
import { loadPlugin, type ShippedLoader } from "./host-load.ts";
import type { HostNetwork } from "./network/host-network.ts";
import { CHANNEL_NETWORK_VARIABLE, isNetFrame } from "./network/net-frame.ts";
import {
  actionWork,
  type HostPorts,
  type HostWork,
  isTooManyFiles,
  outputWork,
  triggerWork,
} from "./host-work.ts";

import { NO_EXEC_VARIABLE } from "./sandbox/stage-two-variable.ts";

const CHANNEL_FD = 3;
/** Time for a plugin to clean up when the agent is gone or the plugin failed. */
const CLEAN_UP_MS = 500;

/**
 * The child side: this process serves one plugin over fd 3 until the agent drains it or goes away. `shipped` loads the
 * plugins that are part of the executable.
 */
export async function runPluginHost(shipped: ShippedLoader): Promise<void> {
  if (process.env[NO_EXEC_VARIABLE] !== undefined) {
    const { denyExec } = await import("./sandbox/stage-two.ts");
    denyExec();
  }
  compileHotCode();
  const host = new PluginHost(shipped);
  // The agent decides about the end, by a drain or by closing the channel. A service manager signals every process of
  // the unit at once; obeying would cut off what the agent is still waiting for.
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => {});
  process.on("uncaughtException", (error) => void host.fail(error));
  process.on("unhandledRejection", (error) => void host.fail(error));
  await host.start();
}

class PluginHost {
  readonly #shipped: ShippedLoader;
  readonly #clock = systemClock();
  readonly #stop = new AbortController();
  /** Aborts the calls of an action too, which a drain lets end. */
  readonly #gone = new AbortController();
  #channel: FrameChannel | undefined;
  readonly #host = new HostAsker((frame) => this.#send(frame));
  #work: HostWork | undefined;
  /** Where this worker's connections go over the channel. */
  #network: HostNetwork | undefined;
  #ending = false;

  constructor(shipped: ShippedLoader) {
    this.#shipped = shipped;
  }

  async start(): Promise<void> {
    if (process.env[CHANNEL_NETWORK_VARIABLE] !== undefined) {
      const { installChannelNetwork } = await import("./network/install-network.ts");
      this.#network = installChannelNetwork((frame) => this.#channel?.send(JSON.stringify(frame)));
    }
    this.#channel = await FrameChannel.open(CHANNEL_FD, {
      frame: (frame) => this.#onFrame(frame as DownFrame),
      closed: () => void this.#leave(1),
    });
  }

  #onFrame(frame: DownFrame): void {
    if (isNetFrame(frame)) return this.#network?.receive(frame);
    if (isAnswer(frame)) return this.#host.answered(frame);
    switch (frame.kind) {
      case "go":
        return;
      case "load":
        this.#load(frame).catch((error: unknown) => this.fail(error));
        return;
      case "ping":
        return this.#send({ kind: "pong", id: frame.id });
      case "drain":
        this.#drain().catch((error: unknown) => this.fail(error));
        return;
      default:
        this.#work?.frame(frame);
    }
  }

  async #load(frame: Extract<DownFrame, { kind: "load" }>): Promise<void> {
    const definition = await loadPlugin(frame.entry, this.#shipped);
    let manifest = bareManifest(definition);
    if (frame.describe) {
      const { manifestOf } = await import("../../sdk/manifest.ts");
      manifest = manifestOf(definition);
    }
    this.#work = this.#workOf(definition);
    this.#send({ kind: "ready", manifest });
  }

  #workOf(definition: PluginDefinition): HostWork {
    const ports: HostPorts = {
      send: (frame) => this.#send(frame),
      sendJson: (json) => this.#channel?.send(json),
      sendJsonSoon: (json) => this.#channel?.sendSoon(json),
      log: this.#log(),
      logOf: (call) => this.#log(call),
      host: (operation, args) => this.#host.ask(operation, args ?? {}),
      add: (call, additions) => this.#host.add(call, additions),
      memory: (call, request) => this.#host.memory(call, request),
      clock: pluginClock(this.#clock),
      signal: definition.kind === "trigger" ? this.#stop.signal : this.#gone.signal,
    };
    const ended = (error?: unknown) => {
      if (error !== undefined && !this.#stop.signal.aborted) void this.fail(error);
      else void this.#finish();
    };
    if (definition.kind === "trigger") return triggerWork(definition, ports, ended);
    if (definition.kind === "output") return outputWork(definition, ports, ended);
    return actionWork(definition, ports);
  }

  async #drain(): Promise<void> {
    this.#stop.abort(new Error("the agent asks the plugin to stop"));
    await this.#work?.finish();
    await this.#finish();
  }

  async #finish(): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    this.#send({ kind: "drained" });
    await this.#channel?.flush();
    process.exit(0);
  }

  /** Reports the failure and ends the process, once the plugin had a moment to clean up. */
  async fail(error: unknown): Promise<void> {
    if (this.#ending) return;
    console.error(error instanceof Error ? (error.stack ?? error.message) : error);
    // Nobody to tell: it was not started by an agent.
    if (this.#channel === undefined) process.exit(1);
    this.#send({
      kind: "failed",
      message: cutText(messageOf(error), 4096),
      ...(isTooManyFiles(error) ? { tooManyFiles: true } : {}),
    });
    await this.#leave(1);
  }

  async #leave(code: number): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    const reason = new Error("the agent is gone or the plugin failed");
    this.#stop.abort(reason);
    this.#gone.abort(reason);
    await Promise.race([this.#work?.finish().catch(() => {}), this.#clock.sleep(CLEAN_UP_MS)]);
    await Promise.race([this.#channel?.flush(), this.#clock.sleep(CLEAN_UP_MS)]);
    process.exit(code);
  }

  #send(frame: UpFrame): void {
    this.#channel?.send(JSON.stringify(frame));
  }

  #log(call?: number): PluginLog {
    const write = (level: "debug" | "info" | "warn" | "error") => (message: string, fields?: JsonObject) =>
      this.#send({
        kind: "log",
        level,
        message: String(message),
        ...(call === undefined ? {} : { call }),
        ...(fields === undefined ? {} : { fields: Array.isArray(fields) ? { values: fields } : fields }),
      });
    return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
  }
}
