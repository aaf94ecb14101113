import { existsSync } from "node:fs";
import { ERROR_CODES, type ErrorCode, HoldfastError, messageOf } from "../core/errors.ts";

const TIMEOUT_MS = 10_000;

/** One request on an agent's control socket; its errors come back as they were meant. */
export async function callAgent<T>(
  socket: string,
  id: string,
  method: "GET" | "POST",
  path: string,
  body?: unknown,
): Promise<T> {
  if (!existsSync(socket)) {
    throw new HoldfastError(
      "unreachable",
      `agent ${id} is not running: there is no ${socket}; start it with holdfast agent run --id ${id}`,
    );
  }
  let response: Response;
  try {
    response = await fetch(`http://localhost${path}`, {
      method,
      unix: socket,
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
    });
  } catch (error) {
    throw new HoldfastError("unreachable", `agent ${id} does not answer on ${socket}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const answer = (await response.json()) as { code?: string; message?: string };
  if (response.ok) return answer as T;
  const code =
    answer.code !== undefined && answer.code in ERROR_CODES ? (answer.code as ErrorCode) : "failed";
  throw new HoldfastError(code, answer.message ?? `agent ${id} answered ${response.status}`);
}
