import { HoldfastError, messageOf } from "../../core/errors.ts";
import { cutText } from "../../core/cut-text.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type { AgentFacts } from "../../model/plugin.ts";
import type { MemoryRequest } from "../../model/memory-request.ts";
import { type PartialTaking, parsePartial } from "../../model/output-batch.ts";
import type { Addition } from "../../model/pipeline.ts";
import type { StepError } from "../../model/run.ts";
import type {
  ActionDefinition,
  BaseContext,
  OutputDefinition,
  PluginClock,
  PluginLog,
  TriggerDefinition,
} from "../../sdk/holdfast.ts";
import { parseSettings } from "../../sdk/settings.ts";
import { addersOf } from "./host-adders.ts";
import { pluginMemory, pluginState } from "./host-memory.ts";
import { EmitPump } from "./emit-pump.ts";
import { type DownFrame, MAX_FRAME_BYTES, type UpFrame } from "./frames.ts";

/** Characters of an error. */
const MAX_TOLD = 4096;

/** What a plugin's work needs of the host process around it. */
export interface HostPorts {
  send(frame: UpFrame): void;
  sendJson(json: string): void;
  /** Together with others of the same turn. */
  sendJsonSoon(json: string): void;
  log: PluginLog;
  /** For what is said in a call. */
  logOf(call: number): PluginLog;
  clock: PluginClock;
  host: BaseContext<unknown>["host"];
  /** Resolves when the steps that a call asks for are durable. */
  add(call: number, additions: Addition[]): Promise<void>;
  /** Asks something of the agent's memory, for a call or for the worker itself. */
  memory(call: number | null, request: MemoryRequest): Promise<Json>;
  /** Aborts when the agent wants an end, or is gone. */
  signal: AbortSignal;
}

type Of<K extends DownFrame["kind"]> = Extract<DownFrame, { kind: K }>;

/** A plugin at work in this process. */
export interface HostWork {
  frame(frame: DownFrame): void;
  /** Settles when what is under way has ended; called once, at the drain. */
  finish(): Promise<void>;
}

function baseContext(ports: HostPorts, name: string, settings: Record<string, unknown>, agent: AgentFacts) {
  const { log, clock, signal, host } = ports;
  const ask = (request: MemoryRequest) => ports.memory(null, request);
  const memory = pluginMemory(ask);
  const state = pluginState(ask);
  return { name, settings, agent, log, clock, signal, host, memory, state } satisfies BaseContext<
    Record<string, unknown>
  >;
}

/** Runs the generator of a trigger. `ended` is called when it is over by itself or by an error. */
export function triggerWork(
  definition: TriggerDefinition,
  ports: HostPorts,
  ended: (error?: unknown) => void,
): HostWork {
  const pump = new EmitPump((json) => ports.sendJson(json));
  let done: Promise<void> = Promise.resolve();
  const start = async (frame: Of<"start_trigger">) => {
    const settings = parseSettings(definition.settings, frame.settings);
    const checkpoint = frame.checkpoint ?? undefined;
    const generator = definition.run({
      ...baseContext(ports, frame.name, settings, frame.agent),
      checkpoint,
      lost: frame.lost,
    });
    ports.send({ kind: "started" });
    try {
      await pump.run(generator);
    } finally {
      // Lets the plugin's `finally` blocks run; one that is stuck in an await is not waited for.
      void generator.return().catch(() => {});
    }
  };
  return {
    frame(frame) {
      if (frame.kind === "emitted") pump.answered(frame.refused);
      else if (frame.kind === "start_trigger") done = start(frame).then(() => ended(), ended);
    },
    finish: () => done,
  };
}

/** Runs the calls of an action, many at once. */
export function actionWork(definition: ActionDefinition, ports: HostPorts): HostWork {
  const calls = new Map<number, { controller: AbortController; done: Promise<void> }>();
  // Aborts only when the agent is gone, so that nobody waits for the calls; a drain lets them end.
  ports.signal.addEventListener("abort", () => {
    for (const call of calls.values()) call.controller.abort(ports.signal.reason);
  });
  const run = async (frame: Of<"call">, signal: AbortSignal) => {
    let settings: Record<string, unknown>;
    try {
      settings = parseSettings(definition.settings, frame.input);
    } catch (error) {
      const problem = { message: messageOf(error), code: "invalid", retryable: false, started: false };
      return ports.send({ kind: "error", id: frame.id, error: problem });
    }
    const { key, run: runId, step, attempt, timeoutMs } = frame;
    const base = baseContext(ports, definition.name, settings, frame.agent);
    try {
      const about = { key, run: runId, step, attempt, timeoutMs };
      const adders = addersOf((additions) => ports.add(frame.id, additions));
      const ask = (request: MemoryRequest) => ports.memory(frame.id, request);
      const shared = { memory: pluginMemory(ask), state: pluginState(ask) };
      const log = ports.logOf(frame.id);
      const output = await definition.run({ ...base, log, signal, ...shared, ...about, ...adders });
      ports.sendJsonSoon(resultJson(frame.id, output ?? null));
    } catch (error) {
      ports.send({ kind: "error", id: frame.id, error: stepError(error) });
    }
  };
  return {
    frame(frame) {
      if (frame.kind === "cancel") calls.get(frame.id)?.controller.abort(new Error("the call was cancelled"));
      if (frame.kind !== "call") return;
      const controller = new AbortController();
      const done = run(frame, controller.signal).finally(() => calls.delete(frame.id));
      calls.set(frame.id, { controller, done });
    },
    async finish() {
      await Promise.all([...calls.values()].map((call) => call.done));
    },
  };
}

/** Hands batches to an output, one after the other. */
export function outputWork(
  definition: OutputDefinition,
  ports: HostPorts,
  ended: (error?: unknown) => void,
): HostWork {
  let context: BaseContext<Record<string, unknown>> | undefined;
  let tail: Promise<void> = Promise.resolve();
  const start = async (frame: Of<"start_output">) => {
    context = baseContext(ports, frame.name, parseSettings(definition.settings, frame.settings), frame.agent);
    await definition.init?.(context);
    ports.send({ kind: "started" });
  };
  const write = async (frame: Of<"write">) => {
    try {
      if (!context) throw new HoldfastError("failed", "the output is not started");
      await definition.write(context, frame.events as unknown as CloudEvent[]);
      ports.send({ kind: "result", id: frame.id, output: null });
    } catch (error) {
      const partial = partialOf(error);
      ports.send({ kind: "error", id: frame.id, error: stepError(error), ...(partial && { partial }) });
    }
  };
  return {
    frame(frame) {
      if (frame.kind === "start_output") tail = start(frame).catch(ended);
      else if (frame.kind === "write") tail = tail.then(() => write(frame));
    },
    async finish() {
      await tail;
      await definition.close?.();
    },
  };
}

/** A result that is no JSON is an error of the action; one too large for a frame is cut, for the work is done. */
function resultJson(id: number, output: Json): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(output);
  } catch {
    text = undefined;
  }
  if (text === undefined) throw new HoldfastError("invalid", "the action's result is not JSON");
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_FRAME_BYTES / 2) {
    text = JSON.stringify({ truncated: true, bytes, head: text.slice(0, 4096) } satisfies JsonObject);
  }
  return `{"kind":"result","id":${id},"output":${text}}`;
}

/** What may be done about an error: an ActionError says so; anything else counts as started and retryable. */
export function stepError(error: unknown): StepError {
  const told = error as Partial<StepError> | null;
  const isTold = error instanceof Error && (error.name === "ActionError" || error.name === "PartialWrite");
  const denied = refusedByKernel(error);
  if (isTooManyFiles(error)) {
    const message = cutText(`files: no more could be opened: ${messageOf(error)}`, MAX_TOLD);
    return { message, code: "files", retryable: true, started: true };
  }
  return {
    message: cutText(denied ?? messageOf(error), MAX_TOLD),
    code: denied !== undefined ? "denied" : isTold && typeof told?.code === "string" ? told.code : "failed",
    retryable: denied !== undefined ? false : isTold ? told?.retryable !== false : true,
    started: isTold ? told?.started !== false : true,
  };
}

/** How far a PartialWrite says that an output came. */
function partialOf(error: unknown): PartialTaking | undefined {
  if (!(error instanceof Error) || error.name !== "PartialWrite") return undefined;
  const { taken, rejected } = error as unknown as { taken: Json; rejected: Json };
  return parsePartial({ taken, rejected });
}

/** The limit `openFiles` of this process was reached. */
export function isTooManyFiles(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "EMFILE";
}

/** What the kernel refused, told as a denial: `denied: open /etc/shadow (EACCES)`. */
function refusedByKernel(error: unknown): string | undefined {
  const { code, syscall, path } = (error ?? {}) as { code?: unknown; syscall?: unknown; path?: unknown };
  if (code !== "EACCES" && code !== "EPERM" && code !== "EROFS") return undefined;
  if (typeof syscall !== "string" || typeof path !== "string") return undefined;
  return `denied: ${syscall} ${path} (${code})`;
}
