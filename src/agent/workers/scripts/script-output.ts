import { HoldfastError } from "../../../core/errors.ts";
import type { CloudEvent } from "../../../model/event.ts";
import type { Grant } from "../../../model/grant.ts";
import type { JsonObject } from "../../../model/json.ts";
import type { ScriptEntry } from "../../../model/plugin.ts";
import { withDefaults } from "../../../model/settings-schema.ts";
import type { OutputIncarnation, OutputOptions } from "../output-part.ts";
import type { PartEnd } from "../supervisor.ts";
import { LinesWorker } from "./lines-worker.ts";
import { CallOutput, onceOutcome, toldPartial } from "./once-call.ts";
import type { ScriptPorts } from "./ports.ts";
import type { HeldSecrets } from "../secret-port.ts";
import { RunningScript, type ScriptStart } from "./running-script.ts";

export interface ScriptOutputOptions extends OutputOptions {
  script: ScriptEntry;
  grant: Grant;
  held?: HeldSecrets;
}

interface Writing {
  settings: JsonObject;
  start: Omit<ScriptStart, "budget" | "consume">;
  ports: ScriptPorts;
}

/** One life of a script as an output. */
export async function startScriptOutput(
  options: ScriptOutputOptions,
  ports: ScriptPorts,
  stopping: AbortSignal,
): Promise<OutputIncarnation> {
  const { name, plugin, script, grant, held } = options;
  const settings = withDefaults(plugin.manifest.settings, options.settings) as JsonObject;
  const start: Writing["start"] = {
    ...{ plugin: plugin.manifest.name, part: name, script, grant, settings, held },
    kind: "output",
  };
  const writing = { settings, start, ports };
  stopping.throwIfAborted();
  return script.mode === "once" ? onceOutput(name, writing) : await linesOutput(name, writing);
}

/** A process for each batch: its events as lines on stdin, and exit code 0 says that it has taken them all. */
function onceOutput(name: string, { start, ports }: Writing): OutputIncarnation {
  const { clock, timing } = ports;
  const { promise: ended, resolve: end } = Promise.withResolvers<PartEnd>();
  let running: RunningScript | undefined;
  return {
    ended,
    async stop() {
      await running?.stop(timing.drainMs, timing.drainMs / 2);
      end({ clean: true, reason: "stopped", counts: true });
    },
    async write(events) {
      const output = new CallOutput();
      running = await RunningScript.start({ ...start, budget: "call", consume: output.consume }, ports);
      const own = running;
      const late = `did not take a batch within ${timing.writeMs} ms`;
      const cancel = clock.after(timing.writeMs, () => own.kill("time", `time: ${late}`));
      for (const event of events) own.write(`${JSON.stringify(event)}\n`);
      own.closeStdin();
      const how = await own.ended;
      cancel();
      running = undefined;
      const outcome = onceOutcome(name, how, output, undefined);
      if (outcome.kind === "ok") return;
      // Not an answer of its own: this life is over, and too many such put it in quarantine.
      if (outcome.kind === "unknown") end({ clean: false, reason: how.reason, counts: true });
      const { message, code, retryable } = outcome.error;
      const partial = outcome.kind === "error" ? toldPartial(output) : undefined;
      const details = outcome.kind === "error" ? { code, ...(partial && { partial }) } : {};
      throw new HoldfastError("failed", `output ${message}`, { retryable, details });
    },
  };
}

/** A process that stays, and answers `{"id", "action": "write", "events"}`. */
async function linesOutput(name: string, { start, settings, ports }: Writing): Promise<OutputIncarnation> {
  const { clock, timing } = ports;
  const worker = await LinesWorker.start(start, ports);
  const ended = worker.ended.then(({ code, killed, reason }): PartEnd => {
    return { clean: code === 0 && killed === undefined, reason, counts: true };
  });
  return {
    ended,
    stop: () => worker.stop(timing.drainMs),
    async write(events: CloudEvent[]) {
      const cancel = clock.after(timing.writeMs, () =>
        worker.kill(`time: did not take a batch within ${timing.writeMs} ms`),
      );
      const { done } = worker.request("write", { events: events as unknown as JsonObject[], settings });
      const end = await done;
      cancel();
      if ("end" in end) throw new HoldfastError("failed", `output ${name}: ${end.end.reason}`);
      if ("data" in end.answer) return;
      const { error, partial } = end.answer;
      const details = { code: error.code, ...(partial && { partial }) };
      throw new HoldfastError("failed", `output ${name}: ${error.message}`, {
        retryable: error.retryable,
        details,
      });
    },
  };
}
