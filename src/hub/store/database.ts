import { SQL } from "bun";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf, systemCode } from "../../core/errors.ts";
import { type WriterOptions, WriterQueue } from "./writer-queue.ts";

export type Value = string | number | bigint | boolean | null | Uint8Array;
export type Row = Record<string, unknown>;

/** Statements inside one transaction, or reads outside any. Text has `?` for each value. */
export interface Queries {
  all(text: string, values?: Value[]): Promise<Row[]>;
  /** Rows that the statement inserted, changed or deleted. */
  run(text: string, values?: Value[]): Promise<number>;
}

interface Connection {
  unsafe(text: string, values?: unknown[]): Promise<Row[] & { affectedRows?: number }>;
}

interface Transaction extends Connection {
  savepoint<T>(work: (inner: Connection) => Promise<T>): Promise<T>;
}

/**
 * One SQLite file through `Bun.SQL`: a writing connection that only the writer queue touches, because a statement that
 * slipped between another task's BEGIN and ROLLBACK would be acknowledged and then vanish; and a reading connection.
 */
export class HubDatabase {
  readonly #writing: SQL;
  readonly #reading: Queries;
  readonly #closeReading: () => Promise<void>;
  readonly writer: WriterQueue<Queries>;

  private constructor(writing: SQL, reading: SQL, clock: Clock, options: Partial<WriterOptions>) {
    this.#writing = writing;
    this.#reading = queriesOf(reading as unknown as Connection);
    this.#closeReading = () => reading.close();
    this.writer = new WriterQueue<Queries>((group) => this.#transaction(group), clock, options);
  }

  static async open(
    file: string,
    clock: Clock,
    prepare: (tx: Queries) => Promise<void>,
    options: Partial<WriterOptions> = {},
  ): Promise<HubDatabase> {
    const writing = await connect(file, {}, [
      // Takes effect only before the first table.
      "PRAGMA auto_vacuum = INCREMENTAL",
      "PRAGMA journal_mode = WAL",
      "PRAGMA synchronous = FULL",
      "PRAGMA busy_timeout = 5000",
    ]);
    try {
      await writing.begin("immediate", (tx) => prepare(queriesOf(tx as unknown as Connection)));
      const reading = await connect(file, { readonly: true }, ["PRAGMA busy_timeout = 5000"]);
      return new HubDatabase(writing, reading, clock, options);
    } catch (error) {
      await writing.close();
      throw openError(error, file);
    }
  }

  /** Reads what is committed. */
  read(text: string, values?: Value[]): Promise<Row[]> {
    return this.#reading.all(text, values);
  }

  /** Waits for what is queued, then closes both connections. */
  async close(): Promise<void> {
    await this.writer.close();
    await this.#closeReading();
    await this.#writing.unsafe("PRAGMA wal_checkpoint(TRUNCATE)").catch(() => undefined);
    await this.#writing.close();
  }

  async #transaction(
    group: (tx: Queries, isolated: <T>(work: (tx: Queries) => Promise<T>) => Promise<T>) => Promise<void>,
  ): Promise<void> {
    await this.#writing.begin("immediate", async (begun) => {
      const tx = begun as unknown as Transaction;
      await group(queriesOf(tx), (work) => tx.savepoint((inner) => work(queriesOf(inner))));
    });
  }
}

function queriesOf(connection: Connection): Queries {
  return {
    all: (text, values) => connection.unsafe(text, values),
    run: async (text, values) => Number((await connection.unsafe(text, values)).affectedRows ?? 0),
  };
}

async function connect(file: string, options: { readonly?: boolean }, pragmas: string[]): Promise<SQL> {
  try {
    // Integers over 2^53 would come back wrong without `bigint`.
    const sql = new SQL({ adapter: "sqlite", filename: file, bigint: true, ...options });
    for (const pragma of pragmas) await sql.unsafe(pragma);
    return sql;
  } catch (error) {
    throw openError(error, file);
  }
}

function openError(error: unknown, file: string): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const code = systemCode(error) ?? "";
  const why = `The hub's database ${file} cannot be opened: ${messageOf(error)} (${code || "no code"})`;
  if (code.startsWith("SQLITE_NOTADB") || code.startsWith("SQLITE_CORRUPT")) {
    return new HoldfastError("corrupt", `${why}; move it aside and restore a backup`, { cause: error });
  }
  if (code.startsWith("SQLITE_BUSY")) {
    return new HoldfastError("busy", `${why}; another program holds it`, { cause: error });
  }
  return new HoldfastError("failed", `${why}; check that the folder exists and is writable`, {
    cause: error,
  });
}
