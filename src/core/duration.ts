import { HoldfastError } from "./errors.ts";

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const PATTERN = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/;

export function isDuration(text: string): boolean {
  return text.length <= 32 && PATTERN.test(text);
}

/** `30s`, `5m`, `1h30m`, `250ms` → milliseconds. Throws `invalid` for anything else. */
export function parseDuration(text: string): number {
  if (!isDuration(text)) {
    throw new HoldfastError(
      "invalid",
      `"${text}" is not a duration: write a number and a unit, like 250ms, 30s, 5m, 1h`,
    );
  }
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    total += Number(amount) * UNITS[unit as string]!;
  }
  return total;
}

/** Milliseconds → the shortest exact text that `parseDuration` reads. */
export function formatDuration(ms: number): string {
  for (const unit of ["d", "h", "m", "s"] as const) {
    if (ms >= UNITS[unit]! && ms % UNITS[unit]! === 0) return `${ms / UNITS[unit]!}${unit}`;
  }
  return `${ms}ms`;
}
