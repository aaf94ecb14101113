import { RE2JS } from "re2js";

/** What of a text a pattern found: the whole, its groups in order, and those that have names. */
export interface Re2Match {
  groups: (string | null)[];
  named: Record<string, string | null>;
}

/**
 * A regular expression of RE2: its time grows with the text and not faster, whoever wrote the text. Large, so that a plugin
 * loads it only when it has a pattern. Throws for a pattern that is none.
 */
export function re2(pattern: string): (text: string) => Re2Match | null {
  const compiled = RE2JS.compile(pattern);
  const names = Object.keys(compiled.namedGroups());
  return (text) => {
    const matcher = compiled.matcher(text);
    if (!matcher.find()) return null;
    const groups = Array.from(
      { length: matcher.groupCount() },
      (_, index) => matcher.group(index + 1) ?? null,
    );
    const named = Object.fromEntries(names.map((name) => [name, matcher.group(name) ?? null]));
    return { groups, named };
  };
}
