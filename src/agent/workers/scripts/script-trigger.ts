import { HoldfastError, messageOf } from "../../../core/errors.ts";
import type { ProposedEvent } from "../../../model/event.ts";
import type { Grant } from "../../../model/grant.ts";
import type { Json, JsonObject } from "../../../model/json.ts";
import type { ScriptEntry } from "../../../model/plugin.ts";
import { withDefaults } from "../../../model/settings-schema.ts";
import type { Incarnation, PartEnd } from "../supervisor.ts";
import type { HeldSecrets } from "../secret-port.ts";
import type { TriggerOptions } from "../trigger-part.ts";
import { type EventLine, readEventLine } from "./event-line.ts";
import { MAX_LINE_BYTES } from "./json-line.ts";
import type { ScriptLine } from "./line-splitter.ts";
import type { ScriptPorts } from "./ports.ts";
import { readLines } from "./read-lines.ts";
import { RunningScript } from "./running-script.ts";
import { ScriptEmitter } from "./script-emitter.ts";

/** Longest line of a trigger with `plain: true`; an event must hold it. */
const MAX_PLAIN_BYTES = 64 * 1024;
/** It comes back in the environment, where the kernel sets a limit. */
const MAX_CHECKPOINT_BYTES = 64 * 1024;

export interface ScriptTriggerOptions extends TriggerOptions {
  script: ScriptEntry;
  grant: Grant;
  held?: HeldSecrets;
}

/** One life of a script as a trigger, from its last committed checkpoint on. */
export async function startScriptTrigger(
  options: ScriptTriggerOptions,
  ports: ScriptPorts,
  stopping: AbortSignal,
): Promise<Incarnation> {
  const { name, plugin, script, grant, held } = options;
  const settings = withDefaults(plugin.manifest.settings, options.settings) as JsonObject;
  let running: RunningScript | undefined;
  const emitter = new ScriptEmitter(options.onEvents, (reason) =>
    running?.kill(undefined, `an emit was refused: ${reason}`),
  );
  const checkpoint = await options.checkpoint();
  stopping.throwIfAborted();
  const started = await RunningScript.start(
    {
      plugin: plugin.manifest.name,
      kind: "trigger",
      part: name,
      script,
      grant,
      settings,
      held,
      ...(checkpoint === undefined ? {} : { call: { CHECKPOINT: JSON.stringify(checkpoint) } }),
      ...(checkpoint === undefined && options.lost ? { call: { CHECKPOINT_LOST: "1" } } : {}),
      budget: "minute",
      consume: (stdout, running) =>
        readLines(stdout, script.plain ? MAX_PLAIN_BYTES : MAX_LINE_BYTES, (lines) =>
          emitLines(lines, script.plain, emitter, running),
        ),
    },
    ports,
  );
  running = started;
  // It may have been refused before there was anything to end.
  if (emitter.refusal) started.kill(undefined, `an emit was refused: ${emitter.refusal.reason}`);
  started.write(`${JSON.stringify(settings)}\n`);
  started.closeStdin();
  const ended = started.ended.then(async ({ code, killed, reason }): Promise<PartEnd> => {
    // The next life reads the checkpoint, so what this one emitted must be settled first.
    if (!stopping.aborted) await Promise.race([emitter.idle(), whenAborted(stopping)]);
    const { refusal } = emitter;
    if (refusal) {
      return { clean: false, reason: `an emit was refused: ${refusal.reason}`, counts: refusal.fault };
    }
    const clean = code === 0 && killed === undefined && emitter.fault === undefined;
    return { clean, reason: emitter.fault ?? reason, counts: true };
  });
  return { pid: started.pid, ended, stop: () => started.stop(ports.timing.drainMs) };
}

/** The lines of one chunk; resolves when there is room for the next. */
async function emitLines(
  lines: ScriptLine[],
  plain: boolean,
  emitter: ScriptEmitter,
  running: RunningScript,
): Promise<void> {
  try {
    for (const line of lines) {
      const read = plain ? plainEvent(line) : jsonEvents(line, emitter);
      if (read === null) running.raw(line.text, line.cutFrom);
      else await emitter.add(read, line.text.length);
    }
  } finally {
    // Also before a failure: what was printed ahead of it is to be kept.
    await emitter.flush();
  }
}

function plainEvent({ text, cutFrom }: ScriptLine): EventLine | null {
  if (text === "") return null;
  const data: { [key: string]: Json } = cutFrom > 0 ? { line: text, truncated: true } : { line: text };
  const event: ProposedEvent = { type: "line", data };
  return { events: [event], checkpoint: undefined };
}

function jsonEvents({ text, cutFrom }: ScriptLine, emitter: ScriptEmitter): EventLine | null {
  if (cutFrom > 0) return null;
  try {
    const read = readEventLine(text);
    const { checkpoint } = read ?? {};
    if (checkpoint !== undefined && Buffer.byteLength(JSON.stringify(checkpoint)) > MAX_CHECKPOINT_BYTES) {
      throw new HoldfastError(
        "too_large",
        `a checkpoint of more than ${MAX_CHECKPOINT_BYTES} bytes: keep less`,
      );
    }
    return read;
  } catch (error) {
    // What follows must not move the checkpoint past it.
    emitter.fault = `the script printed ${messageOf(error)}`;
    throw error;
  }
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
