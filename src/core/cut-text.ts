/** Where a text was cut: the masker looks there for the beginning of a secret. */
export const CUT_MARK = "…";

/** At most `max` characters of a text, and a mark where that is not all of it. */
export function cutText(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max)}${CUT_MARK}` : text;
}
