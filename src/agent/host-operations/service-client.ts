import type { Clock } from "../../core/clock.ts";
import { ERROR_CODES, type ErrorCode, HoldfastError, messageOf, systemCode } from "../../core/errors.ts";
import type { Json } from "../../model/json.ts";
import type { ServiceClient } from "./host-operations.ts";
import { type Operation, VERBS } from "./verbs.ts";

/** What an answer may hold: MAX_OUTPUT_BYTES as JSON in JSON. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
/** For the service to notice the end of the time by itself, and to say so. */
const MARGIN_MS = 15_000;

/** Asks the privileged service: one connection, one JSON line there and one back. */
export function createServiceClient(options: { socket: string; clock: Clock }): ServiceClient {
  return {
    async request(operation, by) {
      const line = JSON.stringify({ operation: operation.text, arguments: operation.arguments, by });
      const answer = await exchange(options, operation, line);
      return resultOf(answer, options.socket);
    },
  };
}

async function exchange(
  { socket, clock }: { socket: string; clock: Clock },
  operation: Operation,
  line: string,
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  // Settled also when the connection cannot be made: nobody waits for it then.
  promise.catch(() => {});
  const chunks: Buffer[] = [];
  let size = 0;
  const connection = await Bun.connect({
    unix: socket,
    socket: {
      data(peer, chunk) {
        chunks.push(Buffer.from(chunk));
        size += chunk.length;
        if (size > MAX_ANSWER_BYTES) {
          reject(new HoldfastError("too_large", `the answer of ${socket} is over ${MAX_ANSWER_BYTES} bytes`));
          peer.terminate();
        } else if (chunk.includes(0x0a)) resolve(Buffer.concat(chunks).toString("utf8"));
      },
      close: () =>
        reject(new HoldfastError("unreachable", `the host service on ${socket} closed without an answer`)),
      error: (_peer, error) => reject(unreachable(socket, operation, error)),
    },
  }).catch((error: unknown) => {
    throw unreachable(socket, operation, error);
  });
  const timeoutMs = VERBS[operation.verb]!.timeoutMs + MARGIN_MS;
  const cancel = clock.after(timeoutMs, () =>
    reject(
      new HoldfastError("timed_out", `${operation.text}: no answer from ${socket} in ${timeoutMs / 1000} s`),
    ),
  );
  try {
    connection.write(`${line}\n`);
    return await promise;
  } finally {
    cancel();
    connection.terminate();
  }
}

function unreachable(socket: string, operation: Operation, error: unknown): HoldfastError {
  const code = systemCode(error);
  const why = code === "ENOENT" ? "there is no such socket" : messageOf(error);
  return new HoldfastError(
    "unreachable",
    `host ${operation.text} needs root, which this agent is not, and the host service on ${socket} cannot be reached (${why}): ` +
      "start holdfast-host.socket, or run holdfast host-service as root",
    { cause: error },
  );
}

function resultOf(line: string, socket: string): Json {
  let answer: { ok?: boolean; result?: Json; error?: { code?: string; message?: string } };
  try {
    answer = JSON.parse(line);
  } catch {
    throw new HoldfastError("failed", `the host service on ${socket} answered what is not JSON`);
  }
  if (answer.ok === true) return answer.result ?? {};
  const { code = "failed", message = "no reason given" } = answer.error ?? {};
  const known = Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : "failed";
  throw new HoldfastError(known, `host service: ${message}`);
}
