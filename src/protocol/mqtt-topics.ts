import { AGENT_ID } from "../model/agent-id.ts";

const ROOT = "holdfast/v1";

/** Topics of one agent: what it sends, what it gets, and whether it is there (retained, with a last will). */
export function agentTopics(agentId: string): { up: string; down: string; presence: string } {
  const base = `${ROOT}/${agentId}`;
  return { up: `${base}/up`, down: `${base}/down`, presence: `${base}/presence` };
}

/** What a hub subscribes to. */
export const HUB_FILTERS: readonly string[] = [`${ROOT}/+/up`, `${ROOT}/+/presence`];

/** Which agent a topic is of, and which of its topics; null for every other topic. */
export function topicOf(topic: string): { agentId: string; kind: "up" | "down" | "presence" } | null {
  const match = /^holdfast\/v1\/([^/]+)\/(up|down|presence)$/.exec(topic);
  if (!match || !AGENT_ID.test(match[1]!)) return null;
  return { agentId: match[1]!, kind: match[2] as "up" | "down" | "presence" };
}

/** What stands, retained, in an agent's topic of presence. Anybody at the broker can write it: it is a hint. */
export const PRESENCE = { online: "online", offline: "offline" } as const;

/** Sent down, unsigned, for a message of a session that the hub does not have: a hint to ask whether it is still there. */
export const NO_SESSION: Buffer = Buffer.from("no session");
