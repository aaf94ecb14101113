import type { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { HoldfastError } from "../../core/errors.ts";
import { RECORD_CLASSES } from "../../model/record.ts";
import {
  type ChainItem,
  EXPORT_FORMAT,
  EXPORT_VERSION,
  type RowItem,
  type StreamItem,
} from "../../protocol/chain-items.ts";
import { openDatabase } from "../../storage/open-database.ts";
import { storageError } from "../../storage/storage-error.ts";
import { RECEIPT_CERTIFICATES } from "./receipt-certificates.ts";
import { SCHEMA_VERSION } from "./migrate.ts";

interface StreamCells {
  id: number;
  agent: string;
  epoch: string;
  lane: number;
  segment: number;
  number: number;
  hash: Uint8Array;
  first_link: Uint8Array;
  next_link: Uint8Array | null;
}

interface RecordCells {
  number: number;
  class: number;
  hash: Uint8Array;
  body: Uint8Array;
  public_key: Uint8Array | null;
}

export interface HubChainsOptions {
  /** Path of hub.db. */
  path: string;
  /** Only this agent's streams. */
  agent?: string;
  /** The hub's CAs, DER. */
  authorities: Uint8Array[];
  nowMs: number;
}

/**
 * The chains of a hub's store (SQLite) as it stands at one moment, read only, beside a running hub too. Checks nothing: that is
 * for who reads the items.
 */
export class HubChains {
  readonly database: Database;
  readonly #options: HubChainsOptions;
  /** Of the stream whose rows are being read. */
  stream = 0;
  /** Rows that there are, about. */
  readonly rows: number;

  constructor(options: HubChainsOptions) {
    const { path, agent } = options;
    this.#options = options;
    if (!existsSync(path)) {
      throw new HoldfastError(
        "not_found",
        `there is no hub's database ${path}: name its folder with --home DIR`,
      );
    }
    this.database = openDatabase(path, { readonly: true, still: !existsSync(`${path}-wal`) });
    try {
      this.database.run("BEGIN");
      checkVersion(this.database, path);
      if (agent !== undefined) requireAgent(this.database, agent);
      this.rows = this.#streams().reduce((sum, { number }) => sum + number, 0);
    } catch (error) {
      this.database.close();
      throw this.#told(error);
    }
  }

  close(): void {
    this.database.close();
  }

  *items(): Generator<ChainItem> {
    try {
      yield* this.#read();
    } catch (error) {
      throw this.#told(error);
    }
  }

  /** Agents that have streams, or the one that was asked for. */
  agents(): string[] {
    return [...new Set(this.#streams().map(({ agent }) => agent))];
  }

  *#read(): Generator<ChainItem> {
    const { agent = null, authorities, nowMs } = this.#options;
    const [format, version] = [EXPORT_FORMAT, EXPORT_VERSION] as const;
    const [hub, epoch] = [this.#meta("hub_id"), this.#meta("epoch")];
    yield { kind: "header", format, version, side: "hub", agent, hub, epoch, madeMs: nowMs };
    for (const certificate of authorities) yield { kind: "authority", certificate };
    for (const { certificate } of this.database.query(RECEIPT_CERTIFICATES).all() as {
      certificate: Uint8Array;
    }[]) {
      yield { kind: "receipt-certificate", hub, certificate };
    }
    for (const cells of this.#streams()) {
      this.stream = cells.id;
      yield streamItem(cells);
      yield* this.#rows(cells.id);
      yield* this.#beside(cells.id);
    }
  }

  #meta(key: string): string {
    const row = this.database.query("SELECT value FROM meta WHERE key = ?").get(key);
    return (row as { value: string }).value;
  }

  #streams(): StreamCells[] {
    const { agent = null } = this.#options;
    return this.database
      .query(
        `SELECT streams.*, later.first_link AS next_link FROM streams
          LEFT JOIN (SELECT agent, epoch, min(id) AS began FROM streams GROUP BY agent, epoch) AS epochs
            ON epochs.agent = streams.agent AND epochs.epoch = streams.epoch
          LEFT JOIN streams AS later ON later.agent = streams.agent AND later.epoch = streams.epoch
            AND later.lane = streams.lane AND later.segment = streams.segment + 1
          WHERE ?1 IS NULL OR streams.agent = ?1
          ORDER BY streams.agent, epochs.began, streams.lane, streams.segment`,
      )
      .all(agent) as StreamCells[];
  }

  *#rows(stream: number): Generator<RowItem> {
    const statement = this.database.prepare(
      `SELECT records.number, records.class, records.hash, records.body, losses.public_key FROM records
        LEFT JOIN losses ON records.class = ${RECORD_CLASSES.loss} AND losses.stream = records.stream
          AND losses.last = records.number
        WHERE records.stream = ? ORDER BY records.number`,
    );
    try {
      for (const cells of statement.iterate(stream) as Iterable<RecordCells>) {
        const { number, class: recordClass, hash, body, public_key: publicKey } = cells;
        const row: RowItem = { kind: "row", number, class: recordClass, hash: hash.toHex(), body };
        yield publicKey === null ? row : { ...row, publicKey };
      }
    } finally {
      statement.finalize();
    }
  }

  *#beside(stream: number): Generator<ChainItem> {
    const statement = this.database.prepare(
      "SELECT number, class, hash, body FROM forks WHERE stream = ? ORDER BY number, hash",
    );
    try {
      for (const { number, class: recordClass, hash, body } of statement.iterate(
        stream,
      ) as Iterable<RecordCells>) {
        yield { kind: "beside", number, class: recordClass, hash: hash.toHex(), body };
      }
    } finally {
      statement.finalize();
    }
  }

  #told(error: unknown): Error {
    return storageError(error, `cannot read the hub's database ${this.#options.path}`);
  }
}

function streamItem(cells: StreamCells): StreamItem {
  const { agent, epoch, lane, segment, number } = cells;
  const firstLink = cells.first_link.toHex();
  return {
    kind: "stream",
    agent,
    epoch,
    lane,
    segment,
    firstLink,
    nextLink: cells.next_link?.toHex() ?? null,
    after: 0,
    afterHash: firstLink,
    last: number,
    lastHash: cells.hash.toHex(),
    acknowledged: null,
  };
}

function checkVersion(database: Database, path: string): void {
  const row = database.query("SELECT version FROM schema_version").get() as { version: number } | null;
  if (row?.version === SCHEMA_VERSION) return;
  throw new HoldfastError(
    "invalid",
    `${path} has schema version ${row?.version ?? 0}, and this executable reads ${SCHEMA_VERSION}: start its hub with this ` +
      "executable once, or use the one that wrote it",
  );
}

function requireAgent(database: Database, id: string): void {
  const known = database
    .query("SELECT 1 FROM agents WHERE id = ?1 UNION SELECT 1 FROM streams WHERE agent = ?1")
    .get(id);
  if (known === null)
    throw new HoldfastError("not_found", `this hub has no agent ${id}: see holdfast agents list`);
}
