import { messageOf } from "../../../core/errors.ts";
import type { Logger } from "../../../core/logger.ts";
import type { PartState, PartStatus } from "../../../model/agent-status.ts";
import type { Grant } from "../../../model/grant.ts";
import type { CatalogPlugin, ScriptEntry } from "../../../model/plugin.ts";
import type { AttemptOutcome } from "../../../model/run-transitions.ts";
import { schemaIssues, withDefaults } from "../../../model/settings-schema.ts";
import type { JsonObject } from "../../../model/json.ts";
import type { WorkerCall } from "../action-worker.ts";
import { cutOf, notStarted, within } from "../call-outcome.ts";
import { CrashRecord } from "../crash-record.ts";
import { isHostTrouble } from "../host-trouble.ts";
import { callLines, callOnce, type CallEnd, type CallFrame } from "./script-call.ts";
import { LinesWorker } from "./lines-worker.ts";
import type { ScriptPorts } from "./ports.ts";

/** Calls that may be under way; the engine's own limit lies below. */
const MAX_CALLS = 1024;

export interface ScriptActionOptions {
  plugin: CatalogPlugin;
  script: ScriptEntry;
  grant: Grant;
  /** A process of mode `lines` without calls ends after this time. */
  idleMs: number;
}

export interface ScriptActionPorts extends ScriptPorts {
  random: () => number;
  log: Logger;
}

/** A script as an action: a process for each call, or one that takes all calls. Does for scripts what ActionWorker does for hosts. */
export class ScriptAction {
  readonly #options: ScriptActionOptions;
  readonly #ports: ScriptActionPorts;
  readonly #crashes: CrashRecord;
  readonly #status: PartStatus;
  readonly #stopped = new AbortController();
  readonly #calls = new Set<Promise<unknown>>();
  #startsFrom = 0;
  #opening: Promise<LinesWorker> | undefined;
  #worker: LinesWorker | undefined;
  readonly #ends = new Set<Promise<unknown>>();
  #cancelIdle = () => {};

  constructor(options: ScriptActionOptions, ports: ScriptActionPorts) {
    const { name } = options.plugin.manifest;
    this.#options = options;
    this.#ports = ports;
    this.#crashes = new CrashRecord(ports.timing.backoff);
    this.#status = { name, plugin: name, kind: "action", state: "stopped", restarts: 0 };
  }

  status(): PartStatus {
    return { ...this.#status };
  }

  /** Nothing is under way, and it may be forgotten. */
  get resting(): boolean {
    const idle = this.#calls.size === 0 && this.#worker === undefined && this.#opening === undefined;
    return idle && this.#status.state === "stopped";
  }

  /** Takes the plugin out of quarantine. */
  reset(): void {
    this.#crashes.clear();
    this.#startsFrom = 0;
    if (this.#status.state === "quarantined") this.#status.state = "stopped";
  }

  async call(call: WorkerCall, signal: AbortSignal): Promise<AttemptOutcome> {
    const { name, reason } = this.#status;
    if (this.#status.state === "quarantined") {
      return notStarted("quarantined", `action ${name} is quarantined: ${reason}`);
    }
    if (this.#stopped.signal.aborted) return notStarted("unavailable", "the agent stops");
    if (this.#calls.size >= MAX_CALLS) return notStarted("busy", `${MAX_CALLS} calls are under way`);
    const input = this.#checkedInput(call.input);
    if (typeof input === "string") return notStarted("invalid", input, false);
    this.#cancelIdle();
    const running = this.#run({ ...call, input }, signal);
    this.#calls.add(running);
    try {
      return await running;
    } finally {
      this.#calls.delete(running);
      this.#watchIdle();
    }
  }

  /** Ends a process that has nothing to do; false when there is none. */
  stopIdle(): boolean {
    const worker = this.#worker;
    if (!worker || this.#calls.size > 0) return false;
    this.#cancelIdle();
    // From now on a call gets a new process; this one only goes.
    this.#worker = undefined;
    this.#set("stopped");
    const end = worker.stop(this.#ports.timing.drainMs);
    this.#ends.add(end);
    void end.then(() => this.#ends.delete(end));
    return true;
  }

  /** What is under way may finish first, for as long as a drain may take. */
  async stop(): Promise<void> {
    const { clock, timing } = this.#ports;
    this.#cancelIdle();
    const cancel = clock.after(timing.drainMs, () => this.#stopped.abort(new Error("the agent stops")));
    const calls = Promise.all(this.#calls);
    if (this.#calls.size === 0) this.#stopped.abort(new Error("the agent stops"));
    await calls;
    cancel();
    this.#stopped.abort(new Error("the agent stops"));
    await this.#worker?.stop(timing.drainMs);
    await Promise.all(this.#ends);
    this.#set("stopped");
  }

  /** Settings with expressions are known only now: the input, or what is wrong with it. */
  #checkedInput(input: JsonObject): JsonObject | string {
    const { settings, name } = this.#options.plugin.manifest;
    const filled = withDefaults(settings, input) as JsonObject;
    const issues = schemaIssues(settings, filled);
    if (issues.length === 0) return filled;
    const texts = issues.map(({ path, message, actual }) => {
      const place = path.length === 0 ? "settings" : path.join(".");
      return `${place}: ${message}${actual === undefined ? "" : `, found ${actual}`}`;
    });
    return `wrong settings for ${name}: ${texts.join("; ")}`;
  }

  async #run(call: WorkerCall, signal: AbortSignal): Promise<AttemptOutcome> {
    const { clock } = this.#ports;
    const deadline = clock.mono() + call.timeoutMs;
    try {
      const wait = this.#startsFrom - clock.mono();
      if (wait > 0) await within(clock.sleep(wait, this.#stopped.signal), call.timeoutMs, signal, clock);
      if (signal.aborted)
        return notStarted("cancelled", "the call was cancelled before the action was started");
      const frame = this.#frame(call, deadline, signal);
      if (this.#options.script.mode === "once") return this.#counted(await this.#once(frame));
      const worker = await within(this.#ready(), Math.max(1, deadline - clock.mono()), signal, clock);
      return (await callLines(worker, frame)).outcome;
    } catch (error) {
      const cut = cutOf(error);
      if (cut) return notStarted(cut.code, `${cut.message} before the action was started`);
      return notStarted("unavailable", messageOf(error));
    }
  }

  /** The step's time-out and the plugin's own wall time: whichever comes first. */
  #frame(call: WorkerCall, deadline: number, signal: AbortSignal): CallFrame {
    const { clock, timing } = this.#ports;
    const left = Math.max(1, Math.round(deadline - clock.mono()));
    const wall = this.#options.grant.resources.wallTime;
    const ownLimit = wall !== null && wall < left;
    return {
      name: this.#status.name,
      call: { ...call, timeoutMs: ownLimit ? wall : left },
      why: ownLimit
        ? `it did not end within its wallTime of ${wall} ms`
        : `it did not end within ${call.timeoutMs} ms`,
      signal,
      stopped: this.#stopped.signal,
      clock,
      cancelMs: timing.cancelMs,
    };
  }

  async #once(frame: CallFrame): Promise<CallEnd> {
    const { plugin, script, grant } = this.#options;
    const { name } = plugin.manifest;
    const start = { plugin: name, kind: "action", part: name, script, grant } as const;
    this.#set("running");
    try {
      return await callOnce(start, frame, this.#ports);
    } catch (error) {
      this.#crashed(messageOf(error), !isHostTrouble(error));
      throw error;
    } finally {
      if (this.#calls.size <= 1 && this.#status.state === "running") this.#set("stopped");
    }
  }

  #counted({ outcome, crash }: CallEnd): AttemptOutcome {
    if (crash !== undefined) this.#crashed(crash);
    return outcome;
  }

  async #ready(): Promise<LinesWorker> {
    for (;;) {
      if (this.#worker?.dying) await this.#worker.ended;
      this.#opening ??= this.#worker ? undefined : this.#open().finally(() => (this.#opening = undefined));
      const worker = this.#worker ?? (await this.#opening);
      if (worker !== undefined && worker === this.#worker && !worker.dying) return worker;
    }
  }

  async #open(): Promise<LinesWorker> {
    const { plugin, script, grant } = this.#options;
    const { name } = plugin.manifest;
    this.#set("starting");
    let worker: LinesWorker;
    try {
      worker = await LinesWorker.start(
        { plugin: name, kind: "action", part: name, script, grant, settings: {} },
        this.#ports,
      );
    } catch (error) {
      this.#crashed(messageOf(error), !isHostTrouble(error));
      throw error;
    }
    this.#worker = worker;
    this.#set("running");
    const end = worker.ended.then(({ code, killed, reason }) => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      if (this.#stopped.signal.aborted || (code === 0 && killed === undefined)) this.#set("stopped");
      else this.#crashed(reason);
    });
    this.#ends.add(end);
    void end.then(() => this.#ends.delete(end));
    return worker;
  }

  /** `counts`: it is the plugin that is to blame. */
  #crashed(reason: string, counts = true): void {
    const { clock, random, log } = this.#ports;
    const next = this.#crashes.add(clock.mono(), reason, counts, random);
    const { name } = this.#status;
    this.#status.restarts++;
    if (next.kind === "quarantine") {
      this.#set("quarantined", next.reason);
      log.error("action is quarantined", { action: name, reason: next.reason });
      return;
    }
    this.#startsFrom = clock.mono() + next.delayMs;
    // Not `failed`: the next call starts it again.
    this.#set("stopped", reason);
    log.warn("action script failed", { action: name, reason });
  }

  #watchIdle(): void {
    this.#cancelIdle();
    if (this.#calls.size > 0 || !this.#worker || this.#stopped.signal.aborted) return;
    this.#cancelIdle = this.#ports.clock.after(this.#options.idleMs, () => this.stopIdle());
  }

  #set(state: PartState, reason?: string): void {
    // Calls that were under way end in quarantine as well; only a person ends it.
    if (this.#status.state === "quarantined") return;
    this.#status.state = state;
    if (reason !== undefined) this.#status.reason = reason;
  }
}
