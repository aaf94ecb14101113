const NEWLINE = 10;
const CARRIAGE_RETURN = 13;
/** A run of zero bytes at the start of a line from this length on is a hole, not text. */
const HOLE = 4096;

/** Where a scan stands in a piece of a file. */
export interface Scan {
  data: Buffer;
  pos: number;
  end: number;
  /** The rest of a line that was cut is being passed over. */
  skipping: boolean;
}

export interface ScanOptions {
  maxLine: number;
  /** Nothing will follow: what stands after the last line break is a line too. */
  final: boolean;
}

/**
 * Moves `scan` over complete lines and hands the place of each to `take`, until the data is used up or `take` says that
 * it has enough. A line without its line break stays unread, so that it is read again, as a whole, later on.
 */
export function scanLines(
  scan: Scan,
  { maxLine, final }: ScanOptions,
  take: (start: number, end: number, truncated: boolean) => boolean,
): void {
  const data = scan.data.subarray(0, scan.end);
  while (scan.pos < scan.end) {
    if (!scan.skipping && data[scan.pos] === 0 && passHole(scan)) continue;
    const start = scan.pos;
    const at = data.indexOf(NEWLINE, start);
    if (scan.skipping) {
      scan.pos = at < 0 ? scan.end : at + 1;
      scan.skipping = at < 0;
      continue;
    }
    if (at >= 0) {
      const end = at > start && data[at - 1] === CARRIAGE_RETURN ? at - 1 : at;
      scan.pos = at + 1;
      if (!takeLine(data, start, end, maxLine, take)) return;
      continue;
    }
    // One byte more than the limit may still be the first half of CR LF.
    const isTooLong = scan.end - start > maxLine + 1;
    if (!isTooLong && !final) return;
    scan.pos = scan.end;
    scan.skipping = !final;
    if (!takeLine(data, start, scan.end, maxLine, take)) return;
  }
}

/**
 * A file that was truncated under a writer that keeps its position begins with zeros up to there (a sparse hole, maybe
 * of gigabytes). No program writes that as text.
 */
function passHole(scan: Scan): boolean {
  let at = scan.pos;
  while (at < scan.end && scan.data[at] === 0) at++;
  if (at - scan.pos < HOLE) return false;
  scan.pos = at;
  return true;
}

function takeLine(
  data: Buffer,
  start: number,
  end: number,
  maxLine: number,
  take: (start: number, end: number, truncated: boolean) => boolean,
): boolean {
  if (end - start <= maxLine) return take(start, end, false);
  let cut = start + maxLine;
  // Not in the middle of a character.
  for (let back = 0; back < 3 && (data[cut]! & 0xc0) === 0x80; back++) cut--;
  return take(start, cut, true);
}
