import type { Page } from "../hub/api/views.ts";
import type { Query } from "./client/follow.ts";
import type { HubContext } from "./hub-command.ts";

const PAGE = 1000;

export interface ListOptions<T> {
  fetch: (query: Query) => Promise<Page<T>>;
  filter: Query;
  /** How many at most; undefined is all. */
  limit: number | undefined;
  /** Lines of one page of a table. */
  render: (items: T[], header: boolean) => string[];
  /** Said instead of an empty table. */
  none: string;
}

/**
 * Prints a list page by page, so that `--all` of a large hub fits in memory: as tables, or as one JSON document
 * `{"items":[…],"next":cursor or null}`.
 */
export async function printList<T>(
  context: Pick<HubContext, "out" | "json" | "signal" | "note">,
  options: ListOptions<T>,
): Promise<void> {
  const { out, json } = context;
  let left = options.limit ?? Infinity;
  let cursor: string | undefined;
  let printed = 0;
  for (;;) {
    const page = await options.fetch({ ...options.filter, cursor, limit: Math.min(PAGE, left) });
    left -= page.items.length;
    const last = page.next === null || left <= 0 || context.signal.aborted;
    if (json) {
      const items = page.items.map((item) => JSON.stringify(item)).join(",");
      const start = printed === 0 ? '{"items":[' : items && ",";
      await out.write(start + items + (last ? `],"next":${JSON.stringify(page.next)}}\n` : ""));
    } else if (page.items.length > 0) {
      for (const line of options.render(page.items, printed === 0)) await out.line(line);
    }
    printed += page.items.length;
    if (!last) {
      cursor = page.next ?? undefined;
      continue;
    }
    if (!json && printed === 0) context.note(options.none);
    if (!json && page.next !== null && !context.signal.aborted) {
      context.note(`there are more: --limit N or --all shows them`);
    }
    return;
  }
}
