import type { JsonObject } from "../../model/json.ts";
import type { Addition } from "../../model/pipeline.ts";
import type { CatalogPlugin } from "../../model/plugin.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";

export interface ActionCall {
  action: string;
  /** The pipeline's: whose memory and locks the action shares. */
  namespace: string;
  input: JsonObject;
  secrets: string[];
  key: string;
  run: string;
  step: string;
  attempt: number;
  timeoutMs: number;
  /** Steps that the action asks for while it runs. */
  add(additions: Addition[]): Promise<void>;
}

export interface ActionPorts {
  find(action: string): CatalogPlugin | undefined;
  missing(action: string): string;
  /** Hands the call to the plugin's worker. Settles when nothing of the call runs any more, also after an abort. */
  call(plugin: CatalogPlugin, call: Omit<ActionCall, "action">, signal: AbortSignal): Promise<AttemptOutcome>;
}

/** From the name in a step to the worker that does it. */
export function createInvoker(ports: ActionPorts) {
  return {
    async invoke({ action, ...call }: ActionCall, signal: AbortSignal): Promise<AttemptOutcome> {
      const plugin = ports.find(action);
      if (plugin) return await ports.call(plugin, call, signal);
      const error = { code: "not_found", message: ports.missing(action), retryable: false, started: false };
      return { kind: "error", error };
    },
  };
}
