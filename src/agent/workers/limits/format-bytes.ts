const UNITS = [
  ["GB", 1024 ** 3],
  ["MB", 1024 ** 2],
  ["KB", 1024],
] as const;

/** For people: whole numbers in the units of settings, tenths below ten. */
export function formatBytes(bytes: number): string {
  for (const [unit, size] of UNITS) {
    if (bytes < size) continue;
    const value = bytes / size;
    return `${value < 10 ? Math.round(value * 10) / 10 : Math.round(value)} ${unit}`;
  }
  return `${Math.round(bytes)} B`;
}
