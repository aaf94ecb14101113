import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { defaultBase } from "../../agent/config/home.ts";
import { HoldfastError, systemCode } from "../../core/errors.ts";
import { isLoopback } from "../../core/listen.ts";

/** Which hub a command talks to, and as whom. */
export interface HubTarget {
  /** Address of the API without a slash at the end and without `/api/v1`. */
  url: string;
  token: string;
  /** How it was chosen, for stderr and error messages. */
  source: string;
}

export interface TargetOptions {
  hub?: string;
  tokenFile?: string;
  home?: string;
  env: Record<string, string | undefined>;
  uid: number | undefined;
  /** False for a process that is not there; handed in for tests. */
  isAlive: (pid: number) => boolean;
}

const runFileSchema = v.looseObject({ api: v.string(), pid: v.optional(v.number()) });
const TOKEN_SHAPE = /^[\x21-\x7e]{8,512}$/;
const MAX_FILE_BYTES = 64 * 1024;

/**
 * The hub by `--hub`, else by `--home`, else by `HOLDFAST_HUB_URL`, else the one under the default home (a flag goes
 * before the environment). Throws what to do when there is none.
 */
export function resolveTarget(options: TargetOptions): HubTarget {
  const { env } = options;
  if (options.hub !== undefined && options.home !== undefined) {
    throw new HoldfastError("usage", "--hub and --home both name a hub: give one of them");
  }
  if (options.hub !== undefined) return remote(options.hub, "--hub", options);
  if (options.home === undefined && env.HOLDFAST_HUB_URL) {
    return remote(env.HOLDFAST_HUB_URL, "HOLDFAST_HUB_URL", options);
  }
  return local(options.home ?? defaultBase(env, options.uid), options);
}

function remote(address: string, from: string, options: TargetOptions): HubTarget {
  const url = parseHubUrl(address, from);
  const found = namedToken(options) ?? environmentToken(url, from, options.env);
  if (!found) {
    throw new HoldfastError(
      "unauthenticated",
      `No API token for ${url}: give --token-file FILE, or set HOLDFAST_TOKEN or HOLDFAST_TOKEN_FILE`,
    );
  }
  return { url, token: found.token, source: `${from}, token from ${found.from}` };
}

/** Checks an address before a token could go there. */
export function parseHubUrl(address: string, from: string): string {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    throw new HoldfastError(
      "usage",
      `${from}: "${address}" is no URL: write one like https://hub.example:8442`,
    );
  }
  if (url.username !== "" || url.password !== "") {
    throw new HoldfastError(
      "usage",
      `${from}: an address must hold no user name or password: use --token-file FILE`,
    );
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw new HoldfastError(
      "usage",
      `${from}: "${address}" must begin with https:// or http:// (the API; agents use grpcs://)`,
    );
  }
  if (url.search !== "" || url.hash !== "") {
    throw new HoldfastError("usage", `${from}: "${address}" must have no ? or # part`);
  }
  if (url.protocol === "http:" && !isLoopbackUrl(url)) {
    throw new HoldfastError(
      "denied",
      `${from}: not sending an API token over plain http to ${url.host}: use https://, or an SSH tunnel to its loopback`,
    );
  }
  const path = url.pathname.replace(/\/+$/, "").replace(/\/api\/v1$/, "");
  return `${url.origin}${path}`;
}

/** True for a URL's host that never leaves this machine. */
export function isLoopbackUrl(url: URL): boolean {
  return isLoopback(url.hostname.replace(/^\[|\]$/g, ""));
}

function namedToken(options: TargetOptions): { token: string; from: string } | undefined {
  if (options.tokenFile === undefined) return undefined;
  return { token: readToken(options.tokenFile), from: options.tokenFile };
}

/** A token of the environment belongs to the hub of the environment: another hub must not get to see it. */
function environmentToken(
  url: string,
  from: string,
  env: TargetOptions["env"],
): { token: string; from: string } | undefined {
  const envUrl = env.HOLDFAST_HUB_URL;
  if (from === "--hub" && envUrl && parseHubUrl(envUrl, "HOLDFAST_HUB_URL") !== url) return undefined;
  if (env.HOLDFAST_TOKEN)
    return { token: checkToken(env.HOLDFAST_TOKEN, "HOLDFAST_TOKEN"), from: "HOLDFAST_TOKEN" };
  if (env.HOLDFAST_TOKEN_FILE) {
    return { token: readToken(env.HOLDFAST_TOKEN_FILE), from: env.HOLDFAST_TOKEN_FILE };
  }
  return undefined;
}

/** The hub that runs under a home: its address from run.json, its first administrator's token from beside it. */
function local(base: string, options: TargetOptions): HubTarget {
  const runFile = join(base, "hub", "run.json");
  const text = readSmallFile(runFile, () => notRunning(base));
  const parsed = v.safeParse(runFileSchema, parseJson(text));
  if (!parsed.success) {
    throw new HoldfastError("failed", `${runFile} is damaged: start the hub again, it writes the file anew`);
  }
  const { api, pid } = parsed.output;
  // A file left by a killed hub may name a port that somebody else has taken since: no token goes there.
  if (pid !== undefined && !options.isAlive(pid)) throw notRunning(base);
  const url = parseHubUrl(api, runFile);
  const tokenFile = join(base, "hub", "admin.token");
  const found = namedToken(options) ?? { token: readToken(tokenFile), from: tokenFile };
  return { url, token: found.token, source: `the hub under ${base}` };
}

function notRunning(base: string): HoldfastError {
  if (existsSync(join(base, "hub"))) {
    return new HoldfastError(
      "unreachable",
      `The hub under ${base} is not running: start it with holdfast up --home ${base}, or holdfast hub run --home ${base}`,
    );
  }
  return new HoldfastError(
    "not_found",
    `There is no hub under ${base}: start one with holdfast up, name its folder with --home DIR, or name a hub elsewhere with --hub URL`,
  );
}

function readToken(path: string): string {
  const text = readSmallFile(path, () => {
    return new HoldfastError(
      "not_found",
      `There is no token file ${path}: name the one to use with --token-file FILE`,
    );
  });
  return checkToken(text.trim(), path);
}

function checkToken(token: string, from: string): string {
  if (TOKEN_SHAPE.test(token)) return token;
  throw new HoldfastError(
    "usage",
    `${from} does not hold an API token: it must be one word of 8 to 512 characters`,
  );
}

function readSmallFile(path: string, missing: () => HoldfastError): string {
  let bytes: Buffer;
  try {
    bytes = readAtMost(path, MAX_FILE_BYTES + 1);
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") throw missing();
    if (code === "EACCES" || code === "EPERM") {
      throw new HoldfastError(
        "denied",
        `This user may not read ${path}: run as its owner, or use --hub URL with --token-file FILE`,
        { cause: error },
      );
    }
    throw new HoldfastError("failed", `Cannot read ${path} (${code ?? "unknown reason"})`, { cause: error });
  }
  if (bytes.length <= MAX_FILE_BYTES) return bytes.toString("utf8");
  throw new HoldfastError(
    "too_large",
    `${path} is larger than ${MAX_FILE_BYTES} bytes: it is not the right file`,
  );
}

/** Also right for pipes (`--token-file <(pass hub)`), whose size nobody knows. */
function readAtMost(path: string, limit: number): Buffer {
  const fd = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(limit);
    let length = 0;
    while (length < limit) {
      const read = readSync(fd, bytes, length, limit - length, null);
      if (read === 0) break;
      length += read;
    }
    return bytes.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
