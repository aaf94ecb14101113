import { fitted, plainLine } from "./plain-text.ts";

export function whoText({ by, user }: { by: string; user: string | null }): string {
  return user === null ? by : `${by} (${user})`;
}

const MAX_JSON = 120;

/** Nothing for what is empty; cut where it is long: `--json` has it whole. */
export function shortJson(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "object" && Object.keys(value).length === 0) return "";
  return fitted(plainLine(JSON.stringify(value)), MAX_JSON);
}
