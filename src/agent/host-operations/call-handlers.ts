import * as v from "valibot";
import { HoldfastError } from "../../core/errors.ts";
import type { LogLevel } from "../../core/logger.ts";
import type { JsonObject } from "../../model/json.ts";
import type { CallHandler } from "./call-server.ts";
import type { HostOperations, HostRequest } from "./host-operations.ts";

const hostSchema = v.strictObject({
  operation: v.pipe(v.string(), v.maxLength(300)),
  arguments: v.optional(v.record(v.string(), v.any()), {}),
});
const logSchema = v.strictObject({
  level: v.picklist(["debug", "info", "warn", "error"]),
  message: v.pipe(v.string(), v.maxLength(64 * 1024)),
  fields: v.optional(v.record(v.string(), v.any())),
});

/** The verb `host` of a script's channel, for one worker with its grant. */
export function hostHandler(operations: HostOperations, of: Pick<HostRequest, "by" | "grant">): CallHandler {
  return (args) => {
    const { operation, arguments: given } = parse("host", hostSchema, args);
    return operations.perform({ ...of, operation, arguments: given });
  };
}

/** The verb `log`: a line of the plugin's log. */
export function logHandler(
  write: (level: LogLevel, message: string, fields?: JsonObject) => void,
): CallHandler {
  return async (args) => {
    const { level, message, fields } = parse("log", logSchema, args);
    write(level, message, fields);
    return {};
  };
}

function parse<S extends v.GenericSchema>(verb: string, schema: S, args: JsonObject): v.InferOutput<S> {
  const parsed = v.safeParse(schema, args);
  if (parsed.success) return parsed.output;
  const issue = parsed.issues[0];
  throw new HoldfastError("invalid", `call ${verb}: ${v.getDotPath(issue) ?? "arguments"}: ${issue.message}`);
}
