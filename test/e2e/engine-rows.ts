/** What an agent's store says, read beside the agent: with plain SQL, and nothing of the code that wrote it. */
import { Database } from "bun:sqlite";
import { createHash } from "node:crypto";

export interface Run {
  id: string;
  pipeline: string;
  rule: string | null;
  event: string | null;
  state: string;
  reason: string | null;
  starter: string;
  parent: string | null;
  open: number;
}

export interface Step {
  run: string;
  step: string;
  part: "steps" | "undo" | "finally" | "on_failure";
  state: string;
  attempts: number;
  error: { code: string; message: string; started: boolean } | null;
}

export interface Attempt {
  run: string;
  step: string;
  number: number;
  state: string;
  error: { code: string; message: string; started: boolean } | null;
}

export interface Event {
  source: string;
  id: string;
  type: string;
  causationid?: string;
  data: { line?: string } & Record<string, unknown>;
}

export interface Rows {
  runs: Run[];
  steps: Step[];
  attempts: Attempt[];
  events: Event[];
  letters: string[];
  places: number;
  epochs: number;
  /** Bodies of the rows of lane 1, in order. */
  results: Record<string, any>[];
  /** What is wrong with numbers or hashes of the outbox, empty when nothing is. */
  brokenLinks: string[];
}

export function withStore<T>(path: string, use: (database: Database) => T): T {
  const database = new Database(path, { readonly: true });
  try {
    database.run("PRAGMA busy_timeout = 5000");
    return use(database);
  } finally {
    database.close();
  }
}

export const count = (database: Database, sql: string): number =>
  (database.query(`SELECT count(*) AS n FROM ${sql}`).get() as { n: number }).n;

export function readRows(path: string): Rows {
  return withStore(path, (database) => {
    const all = <T>(sql: string) => database.query(sql).all() as T[];
    const told = <T extends { error: unknown }>(rows: T[]) =>
      rows.map((row) => ({ ...row, error: row.error === null ? null : JSON.parse(row.error as string) }));
    const { bodies, wrong } = chain(database);
    return {
      runs: all<Run>(
        "SELECT id, pipeline, rule, event_id AS event, state, reason, starter_kind AS starter, parent_run AS parent, open FROM runs ORDER BY n",
      ),
      steps: told(
        all<Step>(
          `SELECT runs.id AS run, step, part, steps.state, attempts, error FROM steps JOIN runs ON runs.n = steps.run
            ORDER BY runs.n, part, position`,
        ),
      ),
      attempts: told(
        all<Attempt>(
          `SELECT runs.id AS run, step, number, attempts.state, error FROM attempts JOIN runs ON runs.n = attempts.run
            ORDER BY runs.n, step, number`,
        ),
      ),
      events: all<StoredEvent>(STORED_EVENTS).map((row) => JSON.parse(eventBody(row)) as Event),
      letters: all<{ run: string }>("SELECT run FROM dead_letters").map(({ run }) => run),
      places: count(database, "lock_places"),
      epochs: count(database, "epochs"),
      results: bodies.map((body) => JSON.parse(body) as Record<string, any>),
      brokenLinks: wrong,
    };
  });
}

interface StoredEvent {
  source: string;
  id: string;
  type: string;
  body: string;
}

const STORED_EVENTS = `SELECT sources.name AS source, events.id, type, body FROM events JOIN sources ON sources.n = events.source
  ORDER BY events.n`;

/** The store leaves out what the columns say. */
function eventBody({ source, id, type, body }: StoredEvent): string {
  if (body.startsWith("{")) return body;
  return `{"specversion":"1.0","id":"${id}","source":"${source}","type":"${type}"${body}`;
}

interface Link extends StoredEvent {
  number: number;
  class: number;
  hash: Uint8Array;
  own: string | null;
}

/** Numbers without a gap, and each hash over the one before it (DESIGN promise 3), in every stream of the epoch. */
function chain(database: Database): { bodies: string[]; wrong: string[] } {
  const wrong: string[] = [];
  const bodies: string[] = [];
  const streams = database
    .query(
      `SELECT lane, segment, last, last_hash AS lastHash, trimmed, trimmed_hash AS trimmedHash FROM streams
        WHERE epoch = (SELECT epoch FROM epochs ORDER BY n DESC LIMIT 1) ORDER BY lane, segment`,
    )
    .all() as {
    lane: number;
    segment: number;
    last: number;
    lastHash: Uint8Array;
    trimmed: number;
    trimmedHash: Uint8Array;
  }[];
  for (const { lane, segment, last, lastHash, trimmed, trimmedHash } of streams) {
    const links = database
      .query(
        `SELECT number, class, hash, outbox.body AS own, sources.name AS source, events.id, events.type, events.body
          FROM outbox LEFT JOIN events ON events.n = event_n LEFT JOIN sources ON sources.n = events.source
          WHERE lane = ? AND segment = ? ORDER BY number`,
      )
      .all(lane, segment) as Link[];
    let previous = trimmedHash;
    let at = trimmed;
    for (const link of links) {
      const body = link.own ?? eventBody(link);
      const isLoss = link.class === LOSS;
      const first = isLoss ? (JSON.parse(body) as Loss).first : link.number;
      if (first !== at + 1) wrong.push(`lane ${lane}: ${first} follows ${at}`);
      const hash = isLoss ? hashAfter(JSON.parse(body) as Loss, previous) : rowHash(previous, link, body);
      if (!hash.equals(link.hash)) wrong.push(`lane ${lane}: the hash of row ${link.number}`);
      previous = link.hash;
      at = link.number;
      if (lane === 1 && !isLoss) bodies.push(body);
    }
    if (at !== last || !Buffer.from(lastHash).equals(previous))
      wrong.push(`lane ${lane} ends with ${at}, not with ${last}`);
  }
  return { bodies, wrong };
}

/** A row that stands for rows that are gone (docs/sync.md). */
const LOSS = 9;
interface Loss {
  first: number;
  prevHash: string;
  lastHash: string;
}

/** What comes after a loss follows the last hash that it names, where it follows the row before it. */
function hashAfter({ prevHash, lastHash }: Loss, previous: Uint8Array): Buffer {
  return Buffer.from(prevHash, "hex").equals(previous) ? Buffer.from(lastHash, "hex") : Buffer.alloc(0);
}

function rowHash(
  previous: Uint8Array,
  { number, class: kind }: Pick<Link, "number" | "class">,
  body: string,
): Buffer {
  const place = Buffer.alloc(9);
  place.writeBigUInt64BE(BigInt(number));
  place[8] = kind;
  const inner = createHash("sha256").update(body).digest();
  return createHash("sha256").update(previous).update(place).update(inner).digest();
}
