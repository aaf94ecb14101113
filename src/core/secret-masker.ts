import { CUT_MARK } from "./cut-text.ts";
import type { LogSink } from "./logger.ts";

/** Shorter ones would mask half of every text. */
export const LEAST_MASKED = 6;
/** A piece of base64 that is shorter may stand for anything. */
const LEAST_PIECE = 8;
const MAX_DEPTH = 64;
const MASK = "***";

/**
 * Takes values that were handed out out of texts, wherever they turn up: as they are, in base64 (whatever stands around them),
 * base64url, hex, URL-encoded or escaped for JSON; of one with several lines each line too. Where a text was cut (`…`, or a text
 * beside `truncated: true`) the beginning of one as well. It only grows: what was handed out once may turn up for as long
 * as this process lives.
 */
export class SecretMasker {
  readonly #known = new Set<string>();
  /** Longest first, so that no shorter form leaves a part of a longer one. */
  #forms: string[] = [];
  /** How forms begin that are longer than that. */
  #heads: string[] = [];

  /** How many values it masks. */
  get size(): number {
    return this.#known.size;
  }

  add(value: string): void {
    if (value.length < LEAST_MASKED || this.#known.has(value)) return;
    this.#known.add(value);
    const forms = new Set([...this.#forms, ...formsOf(value)]);
    this.#forms = [...forms].sort((a, b) => b.length - a.length);
    const long = this.#forms.filter((form) => form.length > LEAST_MASKED);
    this.#heads = [...new Set(long.map((form) => form.slice(0, LEAST_MASKED)))];
  }

  mask(text: string): string {
    let masked = text;
    for (const form of this.#forms) if (masked.includes(form)) masked = masked.replaceAll(form, MASK);
    if (!masked.includes(CUT_MARK)) return masked;
    const pieces = masked.split(CUT_MARK);
    const last = pieces.pop()!;
    return [...pieces.map((piece) => this.#maskCut(piece)), last].join(CUT_MARK);
  }

  /** A copy of a JSON-like value, keys included; the value itself where there is nothing to mask. */
  maskValue<T>(value: T): T {
    if (this.#forms.length === 0 || value === undefined) return value;
    // One look at all of it: most values hold nothing.
    const text = JSON.stringify(value) ?? "";
    const isIn = (part: string) => text.includes(part);
    const found = this.#forms.some(isIn) || (isCut(text) && this.#heads.some(isIn));
    return found ? (this.#deep(value, 0) as T) : value;
  }

  sink(to: LogSink): LogSink {
    return { write: (line, level) => to.write(this.mask(line), level) };
  }

  #deep(value: unknown, depth: number): unknown {
    if (typeof value === "string") return this.mask(value);
    if (value === null || typeof value !== "object") return value;
    // Nobody needs what lies deeper, and it must not hide anything.
    if (depth > MAX_DEPTH) return MASK;
    if (Array.isArray(value)) return value.map((item) => this.#deep(item, depth + 1));
    const cut = (value as { truncated?: unknown }).truncated === true;
    const masked = (item: unknown) =>
      cut && typeof item === "string" ? this.#maskCut(this.mask(item)) : this.#deep(item, depth + 1);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [this.mask(key), masked(item)]));
  }

  /** Without the beginning of a secret at its end. Fewer characters than are masked of a whole one are left. */
  #maskCut(text: string): string {
    // What is left of a character that was cut in two.
    const end = text.replace(/\uFFFD+$/, "");
    if (!this.#heads.some((head) => end.includes(head))) return text;
    for (const form of this.#forms) {
      if (form.length <= LEAST_MASKED) continue;
      const head = form.slice(0, LEAST_MASKED);
      const from = Math.max(0, end.length - form.length);
      for (let at = end.indexOf(head, from); at !== -1; at = end.indexOf(head, at + 1))
        if (form.startsWith(end.slice(at))) return end.slice(0, at) + MASK;
    }
    return text;
  }
}

/** Of a value as JSON. */
function isCut(text: string): boolean {
  return text.includes(CUT_MARK) || text.includes('"truncated":true');
}

function formsOf(value: string): string[] {
  const lines = value.split(/\r?\n/).map((line) => line.trim());
  const texts = [value, value.trim(), ...(lines.length > 1 ? lines : [])];
  return texts.filter((text) => text.length >= LEAST_MASKED).flatMap(encodingsOf);
}

function encodingsOf(text: string): string[] {
  const bytes = Buffer.from(text);
  const escaped = JSON.stringify(text).slice(1, -1);
  const plain = encodeURIComponent(text.toWellFormed());
  const form = new URLSearchParams({ "": text }).toString().slice(1);
  const urls = [plain, form, strictUrl(plain), encodeURI(text.toWellFormed())];
  return [
    ...[text, escaped, JSON.stringify(escaped).slice(1, -1), asciiJson(text)],
    ...urls.flatMap((url) => [url, url.replace(/%[0-9A-F]{2}/g, (escape) => escape.toLowerCase())]),
    ...[bytes.toString("hex"), bytes.toString("hex").toUpperCase()],
    ...[0, 1, 2].flatMap((offset) => base64Pieces(bytes, offset)),
  ].flatMap((form) => [form, JSON.stringify(form).slice(1, -1)]);
}

/** Non-ASCII characters as many programs write them in JSON. */
function asciiJson(text: string): string {
  return JSON.stringify(text)
    .slice(1, -1)
    .replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** RFC 3986: what JavaScript leaves as it is and other programs do not. */
function strictUrl(url: string): string {
  return url.replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** What does not depend on the bytes around, when `offset` bytes of a group of three stand before it. */
function base64Pieces(bytes: Buffer, offset: number): string[] {
  const encoded = Buffer.concat([Buffer.alloc(offset), bytes])
    .toString("base64")
    .replace(/=+$/, "");
  const from = [0, 2, 3][offset]!;
  const to = (offset + bytes.length) % 3 === 0 ? encoded.length : encoded.length - 1;
  const piece = encoded.slice(from, to);
  if (piece.length < LEAST_PIECE) return [];
  return [piece, piece.replaceAll("+", "-").replaceAll("/", "_")];
}
