/**
 * RFC 3339 of Unix milliseconds, in UTC. A number that is no time (a damaged row may hold one) is told as 1970, so that what
 * stands beside it can still be looked at.
 */
export function isoTime(unixMs: number): string {
  const date = new Date(unixMs);
  return (Number.isNaN(date.getTime()) ? new Date(0) : date).toISOString();
}

export function isoOrNull(unixMs: number | null): string | null {
  return unixMs === null ? null : isoTime(unixMs);
}
