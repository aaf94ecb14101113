import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { CALLER_HEADER } from "../agent/local/control-request.ts";
import { ERROR_CODES, type ErrorCode, HoldfastError, messageOf, systemCode } from "../core/errors.ts";
import { homeBase } from "./home-args.ts";

const TIMEOUT_MS = 10_000;

/** One request on an agent's control socket; its errors come back as they were meant. */
export async function callAgent<T>(
  socket: string,
  id: string,
  method: "GET" | "POST" | "PUT" | "DELETE",
  path: string,
  body?: unknown,
): Promise<T> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const response = await askAgent(socket, id, path, { method, body, signal });
  const answer = (await response.json().catch(() => ({}))) as { code?: string; message?: string };
  if (response.ok) return answer as T;
  throw failure(id, response, answer);
}

/** A live stream of an agent's control socket, open. */
export async function openAgentStream(
  socket: string,
  id: string,
  path: string,
  lastId: string,
  signal: AbortSignal,
): Promise<Response> {
  const headers: Record<string, string> = lastId === "" ? {} : { "last-event-id": lastId };
  const response = await askAgent(socket, id, path, { method: "GET", headers, signal });
  if (response.ok && response.body) return response;
  throw failure(id, response, (await response.json().catch(() => ({}))) as object);
}

interface Asked {
  method: string;
  headers?: Record<string, string>;
  body?: unknown;
  signal: AbortSignal;
}

async function askAgent(socket: string, id: string, path: string, asked: Asked): Promise<Response> {
  if (!existsSync(socket)) throw notRunning(socket, id);
  const headers: Record<string, string> = { ...asked.headers, ...caller(process.env, process.getuid?.()) };
  if (asked.body !== undefined) headers["content-type"] = "application/json";
  try {
    return await fetch(`http://localhost${path}`, {
      method: asked.method,
      unix: socket,
      headers,
      signal: asked.signal,
      body: asked.body === undefined ? undefined : JSON.stringify(asked.body),
    });
  } catch (error) {
    if (systemCode(error) === "EACCES" || systemCode(error) === "EPERM") throw notAllowed(socket, id, error);
    // A socket that a killed agent left behind.
    if (systemCode(error) === "ECONNREFUSED" || systemCode(error) === "FailedToOpenSocket") {
      throw notRunning(socket, id);
    }
    throw new HoldfastError("unreachable", `agent ${id} does not answer on ${socket}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** For whom this command acts: the user behind sudo, else our own. */
function caller(env: Record<string, string | undefined>, uid: number | undefined): Record<string, string> {
  if (uid === undefined) return {};
  const behind = uid === 0 && /^\d{1,10}$/.test(env.SUDO_UID ?? "") ? env.SUDO_UID! : String(uid);
  return { [CALLER_HEADER]: behind };
}

function notRunning(socket: string, id: string): HoldfastError {
  const base = dirname(dirname(socket));
  const home = base === homeBase(undefined) ? "" : `--home ${base} `;
  return new HoldfastError(
    "unreachable",
    `agent ${id} is not running: nobody listens on ${socket}; start it with holdfast agent run ${home}--id ${id}`,
  );
}

function notAllowed(socket: string, id: string, error: unknown): HoldfastError {
  return new HoldfastError(
    "denied",
    `this user may not speak to agent ${id} on ${socket}: run the command as root or as the agent's user`,
    { cause: error },
  );
}

function failure(id: string, response: Response, answer: { code?: string; message?: string }): HoldfastError {
  const code =
    answer.code !== undefined && answer.code in ERROR_CODES ? (answer.code as ErrorCode) : "failed";
  return new HoldfastError(code, answer.message ?? `agent ${id} answered ${response.status}`, {
    details: { status: response.status },
  });
}
