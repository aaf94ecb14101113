/** What decisions about one plugin say: why it is refused, or what it asked for and does not get. */
export class GrantNotes {
  readonly reasons: string[] = [];
  readonly narrowed: string[] = [];
  readonly #plugin: string;
  readonly #onMore: "refuse" | "narrow";

  constructor(plugin: string, onMore: "refuse" | "narrow") {
    this.#plugin = plugin;
    this.#onMore = onMore;
  }

  /** Cannot be granted by any policy. */
  refuse(permission: string, value: string, why: string, remedy: string): void {
    this.#add(this.reasons, `plugin ${this.#plugin}: ${permission} ${value}: ${why}; ${remedy}`);
  }

  /** Is more than the policy allows. `limit` is what it allows, `left` what of this remains. */
  exceed(permission: string, value: string, limit: string, left: string): void {
    if (this.#onMore === "narrow") {
      return this.#add(this.narrowed, `${permission} ${value}: the policy allows ${limit}; granted ${left}`);
    }
    const remedy = `ask for less, allow it in the policy's rule for ${this.#plugin}, or set on_more: narrow`;
    this.refuse(permission, value, `the policy allows ${limit}`, remedy);
  }

  #add(list: string[], text: string): void {
    if (!list.includes(text)) list.push(text);
  }
}

/** `a, b and 3 more`, or `nothing`. */
export function listText(items: string[]): string {
  if (items.length === 0) return "nothing";
  const shown = items.slice(0, 5).join(", ");
  return items.length > 5 ? `${shown} and ${items.length - 5} more` : shown;
}
