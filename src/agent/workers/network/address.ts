/** An IP address; four or sixteen bytes. An IPv4-mapped IPv6 address is held as the IPv4 address that it means. */
export interface Address {
  bytes: Uint8Array;
}

/**
 * Every text that a resolver or an HTTP client takes for an address: also `127.1`, `0x7f.0.0.1`, `0177.0.0.1` and
 * `2130706433` of inet_aton, brackets and zone ids. Null for a name.
 */
export function parseAddress(text: string): Address | null {
  const bare = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text;
  if (bare.includes(":")) return parseSix(bare);
  const number = parseFour(bare.endsWith(".") ? bare.slice(0, -1) : bare);
  return number === null ? null : { bytes: fourBytes(number) };
}

export function isFour(address: Address): boolean {
  return address.bytes.length === 4;
}

export function sameAddress(one: Address, other: Address): boolean {
  return Buffer.compare(one.bytes, other.bytes) === 0;
}

/** Canonical: dotted decimal, or IPv6 with its longest row of zeros left out (RFC 5952). */
export function formatAddress({ bytes }: Address): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, at) => (bytes[2 * at]! << 8) | bytes[2 * at + 1]!);
  const zeros = longestZeros(groups);
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  if (zeros.length < 2) return hex(groups);
  return `${hex(groups.slice(0, zeros.start))}::${hex(groups.slice(zeros.start + zeros.length))}`;
}

/** `host:port` with IPv6 in brackets. */
export function formatHostPort(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** One to four numbers, each decimal, octal with a 0 before it, or hexadecimal; the last fills what is left. */
function parseFour(text: string): number | null {
  const parts = text.split(".");
  if (parts.length > 4) return null;
  const numbers = parts.map(parseNumber);
  let value = 0;
  for (const [at, number] of numbers.entries()) {
    if (number === null) return null;
    const last = at === numbers.length - 1;
    const room = last ? 256 ** (4 - at) : 256;
    if (number >= room) return null;
    value += last ? number : number * 256 ** (3 - at);
  }
  return value;
}

function parseNumber(text: string): number | null {
  if (/^0[xX][0-9a-fA-F]{1,12}$/.test(text)) return Number.parseInt(text, 16);
  if (/^0[0-7]{1,16}$/.test(text)) return Number.parseInt(text, 8);
  return /^(?:0|[1-9]\d{0,11})$/.test(text) ? Number(text) : null;
}

function fourBytes(number: number): Uint8Array {
  return Uint8Array.of((number >>> 24) & 255, (number >>> 16) & 255, (number >>> 8) & 255, number & 255);
}

function parseSix(text: string): Address | null {
  const zone = text.indexOf("%");
  const groups = parseGroups(zone === -1 ? text : text.slice(0, zone));
  if (!groups) return null;
  const bytes = Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 255]));
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  return { bytes: mapped ? bytes.slice(12) : bytes };
}

function parseGroups(text: string): number[] | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const [head, tail] = halves.map((half, at) => halfGroups(half, at === halves.length - 1));
  if (!head || (halves.length === 2 && !tail)) return null;
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  return [...head, ...Array<number>(missing).fill(0), ...(tail ?? [])];
}

/** Groups of one side of `::`; the end of the address may be written in dotted decimal. */
function halfGroups(text: string, last: boolean): number[] | null {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [at, part] of parts.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
      continue;
    }
    const four = last && at === parts.length - 1 ? dotted(part) : null;
    if (!four) return null;
    groups.push((four[0]! << 8) | four[1]!, (four[2]! << 8) | four[3]!);
  }
  return groups;
}

function dotted(text: string): number[] | null {
  if (!/^\d{1,3}(?:\.\d{1,3}){3}$/.test(text)) return null;
  const numbers = text.split(".").map(Number);
  return numbers.every((number) => number < 256) ? numbers : null;
}

function longestZeros(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let end = start;
    while (groups[end] === 0) end++;
    if (end - start > best.length) best = { start, length: end - start };
  }
  return best;
}
