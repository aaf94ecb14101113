import type { SqlRow } from "./run-columns.ts";

const PAGE = 256;
/** Row numbers are below this: where no jump gets past a damaged place, there is nothing behind it. */
const FARTHEST = 2 ** 40;

/**
 * Rows in the order of their key (column `at`), around places that cannot be read. `fetch` gives rows with a key above
 * `after`, and throws where it meets damage.
 */
export function* readableRows(
  fetch: (after: number, limit: number) => SqlRow[],
  from = 0,
): Generator<SqlRow> {
  for (let after = from; ;) {
    const rows = tryFetch(fetch, after, PAGE) ?? tryFetch(fetch, after, 1);
    if (rows === undefined) {
      const next = behindDamage(fetch, after);
      if (next === undefined) return;
      after = next;
      continue;
    }
    if (rows.length === 0) return;
    yield* rows;
    after = rows.at(-1)!.at as number;
  }
}

/** The smallest jump found, by doubling and then halving, after which a row can be read again. */
function behindDamage(fetch: (after: number, limit: number) => SqlRow[], after: number): number | undefined {
  let jump = 1;
  while (tryFetch(fetch, after + jump, 1) === undefined) {
    jump *= 2;
    if (after + jump > FARTHEST) return undefined;
  }
  let bad = Math.floor(jump / 2);
  let good = jump;
  while (good - bad > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (tryFetch(fetch, after + middle, 1) === undefined) bad = middle;
    else good = middle;
  }
  return after + good;
}

function tryFetch(
  fetch: (after: number, limit: number) => SqlRow[],
  after: number,
  limit: number,
): SqlRow[] | undefined {
  try {
    return fetch(after, limit);
  } catch {
    return undefined;
  }
}
