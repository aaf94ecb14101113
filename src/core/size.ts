import { HoldfastError } from "./errors.ts";

const UNITS: Record<string, number> = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };
const PATTERN = /^(\d{1,12})(B|KB|MB|GB)$/;

export function isSize(text: string): boolean {
  return PATTERN.test(text);
}

/** `64KB` → bytes, in units of 1024. Throws `invalid` for anything else. */
export function parseSize(text: string): number {
  const match = PATTERN.exec(text);
  if (!match)
    throw new HoldfastError(
      "invalid",
      `"${text}" is not a size: write a number and a unit, like 64KB, 100MB`,
    );
  return Number(match[1]) * UNITS[match[2] as string]!;
}

/** Bytes → the shortest exact text that `parseSize` reads. */
export function formatSize(bytes: number): string {
  for (const unit of ["GB", "MB", "KB"] as const) {
    if (bytes >= UNITS[unit]! && bytes % UNITS[unit]! === 0) return `${bytes / UNITS[unit]!}${unit}`;
  }
  return `${bytes}B`;
}
