import type { JsonObject } from "../../model/json.ts";
import type { StreamCursor } from "../../model/record.ts";
import type { Queries, Row } from "./database.ts";
import type { AgentRow, HubStore, TokenUse } from "./port.ts";

const DAY_MS = 86_400_000;
/** Tokens that ended so long ago are forgotten; until then "expired" and "used" can be told from "unknown". */
const TOKEN_MEMORY_MS = 30 * DAY_MS;

export type EnrollRow = Parameters<HubStore["enroll"]>[0];
export type JoinTokenRow = Parameters<HubStore["addJoinToken"]>[0];
export type ApiTokenRow = Parameters<HubStore["addApiToken"]>[0];

export async function addJoinToken(tx: Queries, token: JoinTokenRow): Promise<void> {
  await tx.run("DELETE FROM join_tokens WHERE expires < ?", [token.createdMs - TOKEN_MEMORY_MS]);
  await tx.run("INSERT INTO join_tokens (hash, created, expires, uses_left) VALUES (?, ?, ?, ?)", [
    token.hash,
    token.createdMs,
    token.expiresMs,
    token.uses,
  ]);
}

export async function addApiToken(tx: Queries, token: ApiTokenRow): Promise<void> {
  await tx.run("INSERT INTO api_tokens (hash, name, role, created) VALUES (?, ?, ?, ?)", [
    token.hash,
    token.name,
    token.role,
    token.createdMs,
  ]);
}

export async function enroll(tx: Queries, request: EnrollRow): Promise<TokenUse | "taken"> {
  const { agent, nowMs } = request;
  const [known] = await tx.all("SELECT public_key FROM agents WHERE id = ?", [agent.id]);
  if (known?.public_key === agent.publicKey) {
    await tx.run(
      "UPDATE agents SET certificate_serial = ?, certificate_expires = ?, labels = ? WHERE id = ?",
      [agent.certificateSerial, agent.certificateExpiresMs, JSON.stringify(agent.labels), agent.id],
    );
    return "ok";
  }
  const use = await tokenState(tx, request.tokenHash, nowMs);
  // Who has no good token learns nothing about which ids exist.
  if (use !== "ok") return use;
  if (known) return "taken";
  await tx.run("UPDATE join_tokens SET uses_left = uses_left - 1 WHERE hash = ?", [request.tokenHash]);
  await tx.run(
    `INSERT INTO agents (id, public_key, certificate_serial, certificate_expires, enrolled, labels, facts, status)
     VALUES (?, ?, ?, ?, ?, ?, '{}', '{}')`,
    [
      agent.id,
      agent.publicKey,
      agent.certificateSerial,
      agent.certificateExpiresMs,
      nowMs,
      JSON.stringify(agent.labels),
    ],
  );
  return "ok";
}

async function tokenState(tx: Queries, hash: string, nowMs: number): Promise<TokenUse> {
  const [token] = await tx.all("SELECT expires, uses_left FROM join_tokens WHERE hash = ?", [hash]);
  if (!token) return "unknown";
  if (Number(token.uses_left) < 1) return "used";
  return Number(token.expires) <= nowMs ? "expired" : "ok";
}

/** False when the agent is not enrolled here. */
export async function recordHello(
  tx: Queries,
  id: string,
  told: { epoch: string; labels: Record<string, string>; facts: JsonObject },
  nowMs: number,
  clockOffsetMs: number,
): Promise<boolean> {
  const changed = await tx.run(
    "UPDATE agents SET epoch = ?, labels = ?, facts = ?, last_hello = ?, clock_offset = ? WHERE id = ?",
    [told.epoch, JSON.stringify(told.labels), JSON.stringify(told.facts), nowMs, clockOffsetMs, id],
  );
  return changed > 0;
}

export async function recordHeartbeat(
  tx: Queries,
  id: string,
  status: JsonObject,
  nowMs: number,
  clockOffsetMs: number,
): Promise<void> {
  await tx.run("UPDATE agents SET status = ?, last_heartbeat = ?, clock_offset = ? WHERE id = ?", [
    JSON.stringify(status),
    nowMs,
    clockOffsetMs,
    id,
  ]);
}

export function agentOf(row: Row): AgentRow {
  return {
    id: row.id as string,
    publicKey: row.public_key as string,
    certificateSerial: row.certificate_serial as string,
    certificateExpiresMs: Number(row.certificate_expires),
    enrolledMs: Number(row.enrolled),
    labels: JSON.parse(row.labels as string) as Record<string, string>,
    facts: JSON.parse(row.facts as string) as JsonObject,
    epoch: row.epoch as string | null,
    lastHelloMs: numberOrNull(row.last_hello),
    lastHeartbeatMs: numberOrNull(row.last_heartbeat),
    clockOffsetMs: numberOrNull(row.clock_offset),
    status: JSON.parse(row.status as string) as JsonObject,
  };
}

export function streamOf(row: Row): StreamCursor & { forked: number } {
  return {
    epoch: row.epoch as string,
    lane: Number(row.lane),
    segment: Number(row.segment),
    number: Number(row.number),
    hash: row.hash as Uint8Array,
    forked: Number(row.forked),
  };
}

export function numberOrNull(value: unknown): number | null {
  return value === null || value === undefined ? null : Number(value);
}
