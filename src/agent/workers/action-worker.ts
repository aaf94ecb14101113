import type { Clock } from "../../core/clock.ts";
import { asHoldfastError, HoldfastError, messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { PartState, PartStatus } from "../../model/agent-status.ts";
import { type AttemptEnd, attemptEnd } from "../../model/attempt-facts.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type { MemoryRequest } from "../../model/memory-request.ts";
import type { Addition } from "../../model/pipeline.ts";
import type { AgentFacts, CatalogPlugin } from "../../model/plugin.ts";
import type { StepError } from "../../model/run.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import { type Grant, summaryOf } from "../../model/grant.ts";
import { type Cut, cutOf, diedDuring, notStarted, unknown, within } from "./call-outcome.ts";
import { CrashRecord } from "./crash-record.ts";
import { isHostTrouble } from "./host-trouble.ts";
import type { UpFrame } from "./frames.ts";
import type { MemorySessionPort } from "./memory-port.ts";
import type { CallMark } from "./plugin-output.ts";
import type { HeldSecrets } from "./secret-port.ts";
import type { WorkerTiming } from "./timing.ts";
import { MAX_MESSAGE } from "./up-frame.ts";
import type { Worker, WorkerEnd } from "./worker.ts";
import type { WorkerMaker } from "./worker-maker.ts";

/** Calls that one worker may have under way; the engine's own limit lies below. */
const MAX_CALLS = 1024;
/** Requests for steps of one call at once, each held in memory until it is durable. */
const MAX_UNANSWERED = 16;

export interface WorkerCall {
  input: JsonObject;
  /** Stable over attempts. */
  key: string;
  run: string;
  step: string;
  attempt: number;
  timeoutMs: number;
  /** Makes steps durable that the call asks for while it runs; throws `invalid` or `conflict`. */
  add(additions: Addition[]): Promise<void>;
  /** Of the run: whose memory it uses. The plugin's own when absent. */
  namespace?: string;
  /** Names of the secrets whose places the input holds. */
  secrets?: string[];
  /** The same by setting; known when the input is filled in. */
  held?: HeldSecrets;
  /** Told before the outcome, where the process of the call has ended. */
  ended?(end: AttemptEnd): void;
}

export interface ActionPorts {
  maker: WorkerMaker;
  agent: AgentFacts;
  clock: Clock;
  random: () => number;
  log: Logger;
  timing: WorkerTiming;
  /** A worker without calls ends after this time. */
  idleMs: number;
}

interface PendingCall {
  worker: Worker;
  /** Refusals by the agent before this call. */
  denials: number;
  cut: Cut | undefined;
  add: WorkerCall["add"];
  unanswered: number;
  memory: MemorySessionPort;
  ended: WorkerCall["ended"];
  /** How it stands in the plugin's log. */
  mark: CallMark;
  settle(outcome: AttemptOutcome): void;
}

/** The worker of one action plugin with one grant: started by the first call, shared by all, ended when idle. */
export class ActionWorker {
  readonly #plugin: CatalogPlugin;
  readonly #grant: Grant;
  readonly #ports: ActionPorts;
  readonly #calls = new Map<number, PendingCall>();
  readonly #crashes: CrashRecord;
  readonly #status: PartStatus;
  #lastId = 0;
  #opening: Promise<Worker> | undefined;
  #worker: Worker | undefined;
  #startsFrom = 0;
  #started = false;
  #stopped = new AbortController();
  #cancelIdle = () => {};
  readonly #ends = new Set<Promise<unknown>>();

  constructor(plugin: CatalogPlugin, grant: Grant, ports: ActionPorts) {
    const { name } = plugin.manifest;
    this.#plugin = plugin;
    this.#grant = grant;
    this.#ports = ports;
    this.#crashes = new CrashRecord(ports.timing.backoff);
    this.#status = {
      name,
      plugin: name,
      kind: "action",
      state: "stopped",
      restarts: 0,
      granted: summaryOf(grant),
    };
  }

  /** Nothing is under way, and it may be forgotten. */
  get resting(): boolean {
    return (
      this.#calls.size === 0 &&
      this.#worker === undefined &&
      this.#opening === undefined &&
      this.#status.state === "stopped"
    );
  }

  status(): PartStatus {
    return { ...this.#status };
  }

  /** Takes the plugin out of quarantine. */
  reset(): void {
    this.#crashes.clear();
    this.#startsFrom = 0;
    if (this.#status.state === "quarantined") this.#set("stopped");
  }

  async call(wanted: WorkerCall, signal: AbortSignal): Promise<AttemptOutcome> {
    const { clock } = this.#ports;
    const most = this.#grant.resources.wallTime;
    const call = most !== null && most < wanted.timeoutMs ? { ...wanted, timeoutMs: most } : wanted;
    const deadline = clock.mono() + call.timeoutMs;
    if (this.#status.state === "quarantined") {
      return notStarted("quarantined", `action ${this.#status.name} is quarantined: ${this.#status.reason}`);
    }
    if (this.#calls.size >= MAX_CALLS) return notStarted("busy", `${MAX_CALLS} calls are under way`);
    let worker = this.#usable();
    if (worker && !signal.aborted) return await this.#send(worker, call, call.timeoutMs, signal);
    try {
      worker = await within(this.#ready(), call.timeoutMs, signal, clock);
      if (signal.aborted)
        return notStarted("cancelled", "the call was cancelled before the action was started");
    } catch (error) {
      const cut = cutOf(error);
      if (cut) return notStarted(cut.code, `${cut.message} before the action was started`);
      return notStarted("unavailable", messageOf(error));
    }
    return await this.#send(worker, call, Math.max(1, Math.round(deadline - clock.mono())), signal);
  }

  /** Ends a worker that has nothing to do; false when there is none. */
  stopIdle(): boolean {
    const worker = this.#worker;
    if (!worker || this.#calls.size > 0) return false;
    this.#cancelIdle();
    // From now on a call gets a new worker; this one only goes.
    this.#worker = undefined;
    this.#started = false;
    this.#set("stopped");
    void worker.stop();
    return true;
  }

  /** Ends the worker; what it has under way may finish first, for as long as a drain may take. */
  async stop(): Promise<void> {
    this.#stopped.abort(new Error("the agent stops"));
    this.#cancelIdle();
    await this.#worker?.stop();
    await Promise.all(this.#ends);
  }

  #send(worker: Worker, call: WorkerCall, timeoutMs: number, signal: AbortSignal): Promise<AttemptOutcome> {
    const id = ++this.#lastId;
    const { clock, agent } = this.#ports;
    const { promise, resolve } = Promise.withResolvers<AttemptOutcome>();
    const pending: PendingCall = {
      worker,
      denials: worker.denials().length,
      cut: undefined,
      add: call.add,
      unanswered: 0,
      memory: this.#ports.maker.memory(this.#plugin.manifest.name, this.#grant, call.namespace),
      ended: call.ended,
      mark: { run: call.run, step: call.step, attempt: call.attempt },
      settle: resolve,
    };
    const onAbort = () => this.#cut(id, { code: "cancelled", message: "the call was cancelled" });
    const cancelTimeout = clock.after(timeoutMs, () =>
      this.#cut(id, { code: "timed_out", message: `it did not end within ${call.timeoutMs} ms` }),
    );
    this.#cancelIdle();
    this.#calls.set(id, pending);
    signal.addEventListener("abort", onAbort, { once: true });
    const { input, key, run, step, attempt } = call;
    try {
      worker.sendSoon({ kind: "call", id, input, key, run, step, attempt, timeoutMs, agent });
    } catch (error) {
      resolve(notStarted("too_large", `its input does not fit: ${messageOf(error)}`, false));
    }
    return promise.finally(() => {
      cancelTimeout();
      signal.removeEventListener("abort", onAbort);
      this.#calls.delete(id);
      pending.memory.close();
      this.#watchIdle();
    });
  }

  /** Asks the plugin to end one call, and takes the whole worker away when it does not. */
  #cut(id: number, cut: Cut): void {
    const pending = this.#calls.get(id);
    if (!pending || pending.cut) return;
    pending.cut = cut;
    pending.worker.send({ kind: "cancel", id });
    const { clock, timing } = this.#ports;
    clock.after(timing.cancelMs, () => {
      if (this.#calls.get(id) !== pending) return;
      if (cut.code === "timed_out") pending.worker.kill("a call ran out of time and did not end", "time");
      else pending.worker.kill("a call was cancelled and did not end");
      // It is settled by the worker's end: while anything of it runs, a next attempt would run beside it.
    });
  }

  #onFrame(frame: UpFrame): void {
    if (frame.kind === "add") return void this.#add(frame);
    if (frame.kind !== "result" && frame.kind !== "error") {
      throw new Error(`a frame \`${frame.kind}\`, which an action does not send`);
    }
    const pending = this.#calls.get(frame.id);
    if (!pending) return;
    if (frame.kind === "result") return pending.settle({ kind: "ok", output: frame.output });
    const { cut } = pending;
    // Cut off in the middle of its work: nobody can say what was done, unless the action vouches for nothing.
    if (cut && frame.error.started)
      pending.settle(unknown(cut.code, `${cut.message}: ${frame.error.message}`));
    else pending.settle({ kind: "error", error: withDenials(frame.error, pending) });
  }

  async #memory(call: number | null, request: MemoryRequest): Promise<Json> {
    const pending = call === null ? undefined : this.#calls.get(call);
    if (pending) return await pending.memory.ask(request);
    throw new HoldfastError("conflict", "the call is over: it has nothing to ask any more");
  }

  async #add({ id, call, additions }: Extract<UpFrame, { kind: "add" }>): Promise<void> {
    const pending = this.#calls.get(call);
    const worker = pending?.worker ?? this.#worker;
    try {
      if (!pending) throw new HoldfastError("conflict", "the call is over, it can add nothing");
      if (pending.unanswered >= MAX_UNANSWERED)
        throw new HoldfastError("busy", `${MAX_UNANSWERED} requests for steps are under way`);
      pending.unanswered++;
      await pending.add(additions).finally(() => pending.unanswered--);
      worker?.send({ kind: "added", id });
    } catch (error) {
      const { code, message } = asHoldfastError(error, "add");
      worker?.send({ kind: "add_error", id, error: { code, message: message.slice(0, MAX_MESSAGE) } });
    }
  }

  #usable(): Worker | undefined {
    return this.#worker?.dying ? undefined : this.#worker;
  }

  /** The worker that may be sent a call at this moment. */
  async #ready(): Promise<Worker> {
    for (;;) {
      // One that is being killed would take the call with it.
      if (this.#worker?.dying) await this.#worker.ended;
      this.#opening ??= this.#worker ? undefined : this.#open().finally(() => (this.#opening = undefined));
      const worker = this.#worker ?? (await this.#opening);
      if (worker !== undefined && worker === this.#worker && !worker.dying) return worker;
    }
  }

  async #open(): Promise<Worker> {
    const { clock, maker } = this.#ports;
    const wait = this.#startsFrom - clock.mono();
    if (wait > 0) await clock.sleep(wait, this.#stopped.signal);
    this.#stopped.signal.throwIfAborted();
    this.#set("starting");
    if (this.#started) this.#status.restarts++;
    this.#started = true;
    let worker: Worker;
    try {
      const { name } = this.#plugin.manifest;
      const onFrame = (frame: UpFrame) => this.#onFrame(frame);
      const onMemory = (call: number | null, request: MemoryRequest) => this.#memory(call, request);
      const callOf = (call: number) => this.#calls.get(call)?.mark;
      const asked = { onMemory, callOf };
      worker = await maker.open(this.#plugin, name, this.#grant, onFrame, this.#stopped.signal, asked);
    } catch (error) {
      this.#crashed(messageOf(error), !isHostTrouble(error));
      throw error;
    }
    this.#worker = worker;
    this.#set("running");
    const end = worker.ended.then((how) => this.#onEnd(worker, how));
    this.#ends.add(end);
    void end.then(() => this.#ends.delete(end));
    this.#watchIdle();
    return worker;
  }

  #onEnd(worker: Worker, end: WorkerEnd): void {
    const { clean, reason, verdict } = end;
    for (const pending of this.#calls.values()) {
      if (pending.worker !== worker) continue;
      const { cut } = pending;
      pending.ended?.(attemptEnd(verdict));
      pending.settle(cut ? unknown(cut.code, cut.message) : diedDuring(end));
    }
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    if (!clean) this.#status.verdict = verdict;
    if (clean || this.#stopped.signal.aborted) this.#set("stopped");
    else this.#crashed(reason);
  }

  /** `counts`: it is the plugin that is to blame. */
  #crashed(reason: string, counts = true): void {
    const { clock, random, log } = this.#ports;
    const next = this.#crashes.add(clock.mono(), reason, counts, random);
    const { name } = this.#status;
    if (next.kind === "quarantine") {
      this.#set("quarantined", next.reason);
      log.error("action is quarantined", { action: name, reason: next.reason });
      return;
    }
    this.#startsFrom = clock.mono() + next.delayMs;
    // Not `failed`: the next call starts it again.
    this.#set("stopped", reason);
    log.warn("action worker failed", { action: name, reason });
  }

  #watchIdle(): void {
    this.#cancelIdle();
    if (this.#calls.size > 0 || !this.#worker) return;
    this.#cancelIdle = this.#ports.clock.after(this.#ports.idleMs, () => this.stopIdle());
  }

  #set(state: PartState, reason?: string): void {
    this.#status.state = state;
    if (reason !== undefined) this.#status.reason = reason;
  }
}

/** An error after a refusal by the agent is told as that refusal; trying again would not help. */
function withDenials(error: StepError, pending: PendingCall): StepError {
  const denied = pending.worker.denials().slice(pending.denials);
  if (denied.length === 0) return error;
  const text = denied.map((what) => `denied: ${what}`).join(", ");
  return { ...error, code: "denied", retryable: false, message: `${text}: ${error.message}` };
}
