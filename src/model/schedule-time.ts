import { HoldfastError } from "../core/errors.ts";

const RFC_3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})$/;

/** RFC 3339 → Unix milliseconds. Throws `invalid` for anything else, and for days that there are not. */
export function parseTime(text: string): number {
  const atMs = RFC_3339.test(text) ? Date.parse(text.replace(" ", "T")) : Number.NaN;
  const [year, month, day] = text.split(/\D/).map(Number);
  const isDay = new Date(Date.UTC(year!, month! - 1, day)).getUTCDate() === day;
  if (Number.isFinite(atMs) && isDay) return atMs;
  throw new HoldfastError(
    "invalid",
    `"${text.slice(0, 40)}" is no time: write it like 2027-01-01T00:00:00Z or 2027-01-01T00:00:00+02:00`,
  );
}
