import { HoldfastError } from "../../../core/errors.ts";
import type { NetFrame } from "./channel-stream.ts";

/** In the environment of a plugin host whose connections go over its channel. */
export const CHANNEL_NETWORK_VARIABLE = "HOLDFAST_CHANNEL_NETWORK";

const MAX_DATA = 128 * 1024;

/** Whether a frame of the channel is about connections; `parseNetFrame` says if it is a good one. */
export function isNetFrame(frame: unknown): frame is NetFrame {
  const kind = (frame as { kind?: unknown } | null)?.kind;
  return typeof kind === "string" && kind.startsWith("net_");
}

/** From a worker's bytes to a frame. Throws `invalid` with what is wrong. */
export function parseNetFrame(value: unknown): NetFrame {
  const { kind, id, ...rest } = value as Record<string, unknown>;
  if (!Number.isSafeInteger(id)) throw invalid("without a whole number `id`");
  const frame = { kind, id, ...rest } as NetFrame;
  switch (frame.kind) {
    case "net_open":
      if (!isText(frame.host, 256) || !isCount(frame.port, 65_535))
        throw invalid("with a wrong host or port");
      return { kind: frame.kind, id: frame.id, host: frame.host, port: frame.port };
    case "net_data":
      if (!isText(frame.data, MAX_DATA)) throw invalid("without data");
      return { kind: frame.kind, id: frame.id, data: frame.data };
    case "net_credit":
      if (!isCount(frame.bytes, 1024 ** 2)) throw invalid("with a wrong number of bytes");
      return { kind: frame.kind, id: frame.id, bytes: frame.bytes };
    case "net_opened":
    case "net_end":
      return { kind: frame.kind, id: frame.id };
    case "net_failed":
      if (!isText(frame.code, 64) || !isText(frame.message, 4096)) throw invalid("without a message");
      return { kind: frame.kind, id: frame.id, code: frame.code, message: frame.message };
    default:
      throw invalid("of unknown kind");
  }
}

function isText(value: unknown, most: number): boolean {
  return typeof value === "string" && value.length <= most;
}

function isCount(value: unknown, most: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= most;
}

function invalid(what: string): HoldfastError {
  return new HoldfastError("invalid", `a frame of a connection ${what}`);
}
