import type { Database } from "bun:sqlite";
import type { ChainItem, ReceiptItem, RowItem, StreamItem } from "../../protocol/chain-items.ts";
import { EXPORT_FORMAT, EXPORT_VERSION } from "../../protocol/chain-items.ts";
import { schemaVersion } from "../../storage/migrations.ts";
import { openDatabase } from "../../storage/open-database.ts";
import { storageError } from "../../storage/storage-error.ts";
import { bodyOf, type OutboxRow, SELECT_ROWS } from "./outbox-rows.ts";
import { checkReadable, checkSchema, hasLog } from "./past-checks.ts";
import { receiptFromRow } from "./receipt-rows.ts";
import { storedJson } from "./stored-json.ts";

/** The first schema with receipts. */
const RECEIPTS_SCHEMA = 10;

interface StreamCells {
  epoch: string;
  lane: number;
  segment: number;
  first_link: Uint8Array;
  next_link: Uint8Array | null;
  last: number;
  last_hash: Uint8Array;
  acknowledged: number;
  trimmed: number;
  trimmed_hash: Uint8Array;
}

type ReceiptCells = Parameters<typeof receiptFromRow>[0];

export interface ChainReaderOptions {
  /** Path of agent.db. */
  path: string;
  agent: string;
  /** CAs that the agent trusts, DER. */
  authorities: Uint8Array[];
  nowMs: number;
}

/**
 * The chains of an agent's store as it stands at one moment, read only, beside a running agent too: its log is taken into the
 * file only up to that moment until this is closed. Checks nothing: that is for who reads the items.
 */
export class AgentChains {
  readonly #options: ChainReaderOptions;
  readonly #database: Database;
  readonly #epoch: string;
  /** Rows that there are, about. */
  readonly rows: number;

  constructor(options: ChainReaderOptions) {
    const { path } = options;
    this.#options = options;
    checkReadable(path);
    this.#database = openDatabase(path, { readonly: true, still: !hasLog(path) });
    try {
      checkSchema(this.#database, path);
      this.#database.run("BEGIN");
      const meta = this.#database.query("SELECT value FROM meta WHERE key = 'epoch'").get();
      this.#epoch = storedJson<string>((meta as { value: string }).value);
      this.rows = this.#count();
    } catch (error) {
      this.#database.close();
      throw this.#told(error);
    }
  }

  close(): void {
    this.#database.close();
  }

  *items(): Generator<ChainItem> {
    try {
      yield* this.#read();
    } catch (error) {
      throw this.#told(error);
    }
  }

  /** What is wrong with the epoch that rows are written in; null when nothing is. */
  epochProblem(): string | null {
    const row = this.#database.query("SELECT epoch FROM epochs ORDER BY n DESC LIMIT 1").get();
    const newest = (row as { epoch: string } | null)?.epoch;
    if (newest === this.#epoch) return null;
    return `the store writes rows of epoch ${this.#epoch}, and the newest that it has begun is ${newest ?? "none"}`;
  }

  *#read(): Generator<ChainItem> {
    const { agent, authorities, nowMs } = this.#options;
    const [format, version] = [EXPORT_FORMAT, EXPORT_VERSION] as const;
    const epoch = this.#epoch;
    yield { kind: "header", format, version, side: "agent", agent, hub: null, epoch, madeMs: nowMs };
    for (const certificate of authorities) yield { kind: "authority", certificate };
    const receipts = this.#receipts();
    if (receipts.length > 0) yield* this.#certificates();
    for (const cells of this.#streams()) {
      yield this.#stream(cells);
      for (const receipt of receipts.filter((each) => isOf(each, cells))) yield receipt;
      // Rows of older epochs have gone on into the newest one.
      if (cells.epoch === epoch) yield* this.#rows(cells);
    }
    const streams = this.#streams();
    for (const receipt of receipts) if (!streams.some((cells) => isOf(receipt, cells))) yield receipt;
  }

  #count(): number {
    const sql = "SELECT coalesce(sum(last - trimmed), 0) AS rows FROM streams WHERE epoch = ?";
    return (this.#database.query(sql).get(this.#epoch) as { rows: number }).rows;
  }

  #streams(): StreamCells[] {
    return this.#database
      .query(
        `SELECT streams.*, later.first_link AS next_link FROM streams LEFT JOIN epochs ON epochs.epoch = streams.epoch
          LEFT JOIN streams AS later ON later.epoch = streams.epoch AND later.lane = streams.lane
            AND later.segment = streams.segment + 1
          ORDER BY epochs.n, streams.epoch, streams.lane, streams.segment`,
      )
      .all() as StreamCells[];
  }

  #stream(cells: StreamCells): StreamItem {
    const { epoch, lane, segment, last, acknowledged } = cells;
    const isOld = epoch !== this.#epoch;
    return {
      kind: "stream",
      agent: this.#options.agent,
      epoch,
      lane,
      segment,
      firstLink: cells.first_link.toHex(),
      nextLink: cells.next_link?.toHex() ?? null,
      after: isOld ? last : cells.trimmed,
      afterHash: (isOld ? cells.last_hash : cells.trimmed_hash).toHex(),
      last,
      lastHash: cells.last_hash.toHex(),
      acknowledged,
    };
  }

  *#rows({ lane, segment, trimmed }: StreamCells): Generator<RowItem> {
    const statement = this.#database.prepare(SELECT_ROWS);
    try {
      const rows = statement.iterate(lane, segment, trimmed, -1) as Iterable<OutboxRow>;
      for (const row of rows) {
        const { number, class: recordClass, hash } = row;
        yield { kind: "row", number, class: recordClass, hash: hash.toHex(), body: encoded(row) };
      }
    } finally {
      statement.finalize();
    }
  }

  #receipts(): ReceiptItem[] {
    if (schemaVersion(this.#database) < RECEIPTS_SCHEMA) return [];
    const rows = this.#database.query("SELECT * FROM receipts ORDER BY n").all() as ReceiptCells[];
    const { agent } = this.#options;
    return rows.map((cells) => {
      const { signature, ...told } = receiptFromRow(cells);
      return { kind: "receipt", agent, ...told, signature: Uint8Array.fromHex(signature) };
    });
  }

  *#certificates(): Generator<ChainItem> {
    const rows = this.#database.query("SELECT hub, certificate FROM receipt_certificates ORDER BY n").all();
    for (const { hub, certificate } of rows as { hub: string; certificate: Uint8Array }[]) {
      yield { kind: "receipt-certificate", hub, certificate };
    }
  }

  #told(error: unknown): Error {
    return storageError(error, `cannot read the store ${this.#options.path}`);
  }
}

function isOf(receipt: ReceiptItem, { epoch, lane, segment }: StreamCells): boolean {
  return receipt.epoch === epoch && receipt.lane === lane && receipt.segment === segment;
}

/** Null when the event that the row points to is gone. */
function encoded(row: OutboxRow): Uint8Array | null {
  return row.body === null && row.stored === null ? null : new TextEncoder().encode(bodyOf(row));
}
