import type { JsonObject, Json } from "../../model/json.ts";
import type { ProposedEvent } from "../../model/event.ts";
import type { MemoryRequest } from "../../model/memory-request.ts";
import type { PartialTaking } from "../../model/output-batch.ts";
import type { Addition } from "../../model/pipeline.ts";
import type { AgentFacts, Manifest, PluginEntry } from "../../model/plugin.ts";
import type { StepError } from "../../model/run.ts";

/**
 * Frames between the agent and a plugin host on fd 3: a 4-byte big-endian length, then JSON. Either side closes the
 * channel on a frame over MAX_FRAME_BYTES or one that does not parse.
 */
export const MAX_FRAME_BYTES = 8 * 1024 * 1024;

/** Agent to plugin host. */
export type DownFrame =
  /** Answer to `sockets`: the launcher goes on and becomes the worker. */
  | { kind: "go" }
  /** First frame to the host, which loads the entry and answers `ready` or `failed`. */
  | { kind: "load"; entry: PluginEntry; describe: boolean }
  /** Starts the trigger; its settings were checked against the manifest by the host. */
  | {
      kind: "start_trigger";
      settings: JsonObject;
      checkpoint: Json;
      lost: boolean;
      agent: AgentFacts;
      name: string;
    }
  /** The emit with this number is committed (or refused, with a reason). */
  | { kind: "emitted"; seq: number; refused?: string }
  | {
      kind: "call";
      id: number;
      input: JsonObject;
      key: string;
      run: string;
      step: string;
      attempt: number;
      /** Milliseconds that the call may take. */
      timeoutMs: number;
      agent: AgentFacts;
    }
  | { kind: "cancel"; id: number }
  | { kind: "start_output"; settings: JsonObject; agent: AgentFacts; name: string }
  | { kind: "write"; id: number; events: JsonObject[] }
  /** Answers to `host`. */
  | { kind: "host_result"; id: number; result: Json }
  | { kind: "host_error"; id: number; error: { code: string; message: string } }
  /** Answers to `add`: what was asked for is durable, or not done. */
  | { kind: "added"; id: number }
  | { kind: "add_error"; id: number; error: { code: string; message: string } }
  /** Answers to `memory`. */
  | { kind: "memory_result"; id: number; result: Json }
  | { kind: "memory_error"; id: number; error: { code: string; message: string } }
  /** Finish what is under way, then close. */
  | { kind: "drain" }
  | { kind: "ping"; id: number };

/** A socket in the worker's own network, by its number in the worker's process. */
export interface HandedSocket {
  port: number;
  fd: number;
}

/** Plugin host to agent. */
export type UpFrame =
  /** From the launcher, before there is a host: descriptors of the sockets that it made in the worker's network. */
  | { kind: "sockets"; tcp: HandedSocket[]; udp: HandedSocket[] }
  | { kind: "ready"; manifest: Manifest }
  /** The plugin failed; the host exits after it. `tooManyFiles`: because it could open no more. */
  | { kind: "failed"; message: string; tooManyFiles?: true }
  | { kind: "started" }
  /** Events of a trigger with the checkpoint that commits with them. At most EMIT_WINDOW are unanswered. */
  | { kind: "emit"; seq: number; events: ProposedEvent[]; checkpoint?: Json }
  | { kind: "result"; id: number; output: Json }
  /** `partial`: how much of a batch an output took all the same. */
  | { kind: "error"; id: number; error: StepError; partial?: PartialTaking }
  /** `call`: the one that it is said in. */
  | {
      kind: "log";
      level: "debug" | "info" | "warn" | "error";
      message: string;
      fields?: JsonObject;
      call?: number;
    }
  /** Asks for a host operation, like `systemd.restart:nginx.service`. */
  | { kind: "host"; id: number; operation: string; arguments: JsonObject }
  /** Steps that the call with this number asks for. */
  | { kind: "add"; id: number; call: number; additions: Addition[] }
  /** Asks something of the agent's memory: for the call with this number, or for the worker itself. */
  | { kind: "memory"; id: number; call: number | null; request: MemoryRequest }
  | { kind: "drained" }
  | { kind: "pong"; id: number };
