import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { Refusal } from "./problem.ts";

/** How far the time in a signature may be from this host's. */
export const WINDOW_SECONDS = 300;
const MIN_SECRET = 16;
const MAX_ID = 128;
const ID = /^[\w.:/+=-]+$/;

export interface Caller {
  /** What makes the call the same when it comes again; null is none. */
  id: string | null;
}

/** Secrets, one a line, so that an old and a new one can be good at the same time. Throws when there is none. */
export function readSecrets(
  text: string,
  { from, auth }: { from: string; auth: "bearer" | "hmac" },
): string[] {
  const secrets = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const short = secrets.findIndex((secret) => secret.length < MIN_SECRET);
  if (secrets.length === 0)
    throw new Error(`${from} holds no secret: write one of ${MIN_SECRET} characters or more`);
  if (short >= 0) throw new Error(`line ${short + 1} of ${from} is shorter than ${MIN_SECRET} characters`);
  const blank = auth === "bearer" ? secrets.findIndex((secret) => /\s/.test(secret)) : -1;
  if (blank >= 0) throw new Error(`line ${blank + 1} of ${from} holds a blank: no bearer token can`);
  return secrets;
}

/** `Authorization: Bearer …`. Throws a Refusal. */
export function checkBearer(headers: Headers, secrets: string[]): Caller {
  const given = /^Bearer +(\S+)$/i.exec(headers.get("authorization") ?? "")?.[1];
  const good = given !== undefined && secrets.map((secret) => isSame(given, secret)).includes(true);
  if (!good) throw unauthorized("the bearer token is missing or wrong", "Bearer");
  return { id: callId(headers) };
}

/**
 * `Holdfast-Signature: t=SECONDS,v1=HEX`: HMAC-SHA256 over `SECONDS.ID.BODY`, where ID is the header `Idempotency-Key`, or
 * nothing. A signature is good once, and for five minutes. Throws a Refusal.
 */
export function checkSignature(
  headers: Headers,
  body: Uint8Array,
  secrets: string[],
  wallMs: number,
): Caller {
  const header = headers.get("holdfast-signature") ?? "";
  const match = /^t=(\d{1,12}), ?v1=([0-9a-fA-F]{64})$/.exec(header);
  const id = callId(headers);
  const [, seconds = "", given = ""] = match ?? [];
  const good = secrets
    .map((secret) => {
      const hmac = createHmac("sha256", secret)
        .update(`${seconds}.${id ?? ""}.`)
        .update(body);
      return isSame(given.toLowerCase(), hmac.digest("hex"));
    })
    .includes(true);
  if (match === null || !good) throw unauthorized("the signature is missing or wrong", "Holdfast-Signature");
  if (Math.abs(wallMs / 1000 - Number(seconds)) > WINDOW_SECONDS) {
    throw new Refusal(
      403,
      `the signature is of another time: it is good for ${WINDOW_SECONDS / 60} minutes; are the clocks right?`,
    );
  }
  return { id: id ?? given.toLowerCase() };
}

function callId(headers: Headers): string | null {
  const id = headers.get("idempotency-key");
  if (id === null) return null;
  if (id.length <= MAX_ID && ID.test(id)) return id;
  throw new Refusal(400, `Idempotency-Key has 1 to ${MAX_ID} letters, digits and . _ : / + = -`);
}

/** Takes as long for a text that is nearly right as for any other. */
function isSame(given: string, wanted: string): boolean {
  const hash = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(hash(given), hash(wanted));
}

function unauthorized(detail: string, scheme: string): Refusal {
  return new Refusal(401, detail, { "www-authenticate": scheme });
}
