import { HoldfastError } from "../../core/errors.ts";

const TERM = /^([A-Za-z0-9][\w./-]{0,62})(!=|=)([\w.:/@-]{0,128})$/;
const MAX_TERMS = 20;

export interface SelectorTerm {
  label: string;
  negated: boolean;
  value: string;
}

/** `role=web,site!=berlin` → terms that must all hold. Throws `invalid` that names the term that is wrong. */
export function parseSelector(text: string): SelectorTerm[] {
  const parts = text.split(",").map((part) => part.trim());
  if (parts.length > MAX_TERMS) {
    throw new HoldfastError(
      "invalid",
      `a selector has at most ${MAX_TERMS} terms, this one has ${parts.length}`,
    );
  }
  return parts.map((part) => {
    const match = TERM.exec(part);
    if (!match) {
      throw new HoldfastError(
        "invalid",
        `"${part}" is no term of a selector: write label=value or label!=value`,
      );
    }
    return { label: match[1]!, negated: match[2] === "!=", value: match[3]! };
  });
}

/** A label that is not there equals nothing, so that `!=` holds for it. */
export function selects(terms: SelectorTerm[], labels: Record<string, string>): boolean {
  return terms.every((term) => {
    const equal = Object.hasOwn(labels, term.label) && labels[term.label] === term.value;
    return equal !== term.negated;
  });
}
