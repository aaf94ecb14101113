/**
 * Text from agents, scripts and logs on its way to a terminal: escape sequences, control characters and the marks that
 * reorder text are taken out, so that nobody who can write a log line can move a cursor or rewrite what stands above.
 */
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** Keeps line breaks and tabs, for output that is shown as it was written. */
export function plainText(text: string): string {
  return Bun.stripANSI(text.replaceAll("\r\n", "\n")).replace(CONTROLS, "");
}

/** One line: breaks and tabs become spaces. */
export function plainLine(text: string): string {
  return plainText(text.replace(/[\t\n\r\u2028\u2029]+/g, " "));
}

/** Cut to `width` columns of a terminal, with an ellipsis where something is missing. */
export function fitted(text: string, width: number): string {
  if (Bun.stringWidth(text) <= width) return text;
  if (width <= 1) return "…".slice(0, width);
  let out = "";
  let used = 0;
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    const wide = Bun.stringWidth(segment);
    if (used + wide > width - 1) break;
    out += segment;
    used += wide;
  }
  return `${out}…`;
}

/** `text` and as many spaces as make `width` columns. */
export function padded(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - Bun.stringWidth(text)));
}
