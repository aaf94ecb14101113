const SECRET_NAME =
  /pass(word|phrase)?$|token$|secret$|api_?key$|private_?key$|authorization$|cookie$|credential/i;
const SECRET_TEXT =
  /(bearer\s+)[\w.~+/=-]{8,}|(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)|\bhf(?:adm|join)_[\w-]{8,}/gi;

/** True for a key whose value must never be shown (`api_token`, `password`, `Authorization` …). */
export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name);
}

/** Replaces bearer tokens, private keys and our own tokens inside free text. */
export function maskText(text: string): string {
  return text.replace(SECRET_TEXT, (_all, bearer?: string, begin?: string, end?: string) =>
    bearer ? `${bearer}***` : begin ? `${begin}***${end ?? ""}` : "***",
  );
}

/** A copy of a JSON-like value with secrets replaced by `***`. */
export function maskValue(value: unknown, depth = 0): unknown {
  if (typeof value === "string") return maskText(value);
  if (depth > 8 || value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((item) => maskValue(item, depth + 1));
  const out: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    out[key] = isSecretName(key) && item !== null && item !== undefined ? "***" : maskValue(item, depth + 1);
  }
  return out;
}
