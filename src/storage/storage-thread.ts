import type { Database } from "bun:sqlite";
import { HoldfastError } from "../core/errors.ts";
import { compileHotCode } from "../core/jit.ts";
import { type Fault, Faults } from "./faults.ts";
import { CHECKPOINT_PAGES, rollback } from "./open-database.ts";
import { isDamage, isTransactionLost, storageError, toErrorFrame } from "./storage-error.ts";
import {
  type FromThread,
  type ReceivedWrite,
  type Result,
  type ToThread,
  unpackBatch,
} from "./storage-frames.ts";

/** An idle agent comes to these in an hour, one with work in a second. */
const BUSY_COMMITS = 100;

/** What runs on a storage thread: operations over one database that it owns. */
export interface StorageProgram {
  database: Database;
  /** For messages. */
  name: string;
  facts: unknown;
  /**
   * Operations of the group's transaction. One that throws a HoldfastError must not have written anything yet; after any
   * other error its half-done work is rolled back.
   */
  writes: Record<string, (args: never, text: string) => unknown>;
  /** Run between transactions: they see only what is committed. */
  reads: Record<string, (args: never) => unknown>;
  /** Labels of its writes, for tests that strike at each. */
  labels(): string[];
  /** Writes what the program holds in memory, as the last thing in the transaction. */
  flush(): void;
  /** Reads that again from the database, after a roll-back. */
  reload(): void;
  /** What the main side is told of the commit that just happened. */
  signal(): unknown;
  /** The file's bytes are wrong: make sure that the next start finds out. */
  damaged(reason: string): void;
  close(): void;
}

export interface ThreadPort {
  onmessage: ((event: { data: ToThread }) => void) | null;
  postMessage(message: FromThread): void;
}

export interface ServeOptions {
  makeFaults?: (plan: Fault[]) => Faults | undefined;
  /** Called when the client has been told that the store is open. */
  opened?: () => void;
}

const plannedFaults = (plan: Fault[]) => (plan.length > 0 ? new Faults(plan) : undefined);

/** Serves a storage client from a Worker: opens on its word, runs each batch in one transaction, answers after the commit. */
export function serveStorage(
  port: ThreadPort,
  open: (options: never, faults: Faults | undefined) => StorageProgram,
  { makeFaults = plannedFaults, opened = () => {} }: ServeOptions = {},
): void {
  let server: StorageServer | undefined;
  port.onmessage = ({ data }) => {
    if (typeof data === "string") return server?.batch(data);
    if (data.kind === "read") return server?.read(data.id, data.operation, data.args);
    if (data.kind === "close") return server?.close();
    try {
      const faults = makeFaults(data.faults);
      const program = open(data.options as never, faults);
      server = new StorageServer(port, program, faults);
      port.postMessage({ kind: "opened", facts: program.facts });
      opened();
    } catch (error) {
      port.postMessage({ kind: "refused", error: toErrorFrame(error, "cannot open the store") });
    }
  };
}

class StorageServer {
  readonly #port: ThreadPort;
  readonly #program: StorageProgram;
  readonly #faults: Faults | undefined;
  readonly #begin;
  readonly #commit;
  readonly #logSize;
  #problem: string | null = null;
  #damaged = false;
  #commits = 0;

  constructor(port: ThreadPort, program: StorageProgram, faults: Faults | undefined) {
    this.#port = port;
    this.#program = program;
    this.#faults = faults;
    this.#begin = program.database.prepare("BEGIN IMMEDIATE");
    this.#commit = program.database.prepare("COMMIT");
    this.#logSize = program.database.prepare("PRAGMA wal_checkpoint(NOOP)");
  }

  batch(message: string): void {
    const writes = unpackBatch(message);
    const results: Result[] = new Array(writes.length);
    let signal: unknown = null;
    try {
      if (!this.#together(writes, results)) this.#apart(writes, results);
      signal = this.#program.signal();
      if (++this.#commits === BUSY_COMMITS) compileHotCode();
      // Wrong bytes in the file stay wrong, whatever else can still be written.
      if (!this.#damaged) this.#problem = null;
    } catch (error) {
      this.#undo();
      const frame = toErrorFrame(error, `${this.#program.name} cannot commit`);
      results.fill({ ok: false, error: frame });
      this.#troubled(error, frame.message);
    }
    this.#port.postMessage({
      kind: "committed",
      results,
      signal,
      problem: this.#problem,
      commits: this.#commits,
    });
    this.#checkpoint();
  }

  /** Moves a long write-ahead log into the file. That takes some milliseconds: nobody waits for an answer meanwhile. */
  #checkpoint(): void {
    try {
      const { log, checkpointed } = this.#logSize.get() as { log: number; checkpointed: number };
      if (log - checkpointed < CHECKPOINT_PAGES) return;
      this.#program.database.run("PRAGMA wal_checkpoint(PASSIVE)");
    } catch {
      // What is in the log is durable and is read from there; the next commit tries again.
    }
  }

  /**
   * The common case: one transaction, no savepoints. When an operation fails half-way everything is rolled back, its error
   * is put down as its result, and false says that the others must be run again.
   */
  #together(writes: ReceivedWrite[], results: Result[]): boolean {
    this.#begin.run();
    for (let i = 0; i < writes.length; i++) {
      try {
        results[i] = { ok: true, value: this.#run(writes[i]!) };
      } catch (error) {
        if (isTransactionLost(error)) throw error;
        const frame = toErrorFrame(error, this.#what(writes[i]!));
        results[i] = { ok: false, error: frame };
        if (isDamage(error)) this.#troubled(error, frame.message);
        if (error instanceof HoldfastError) continue;
        const failed = results[i]!;
        this.#undo();
        results.fill(undefined as never);
        results[i] = failed;
        return false;
      }
    }
    this.#end();
    return true;
  }

  /** The rare case: the operations that have no result yet, each in a savepoint. */
  #apart(writes: ReceivedWrite[], results: Result[]): void {
    const { database } = this.#program;
    this.#begin.run();
    for (let i = 0; i < writes.length; i++) {
      if (results[i]) continue;
      database.run("SAVEPOINT operation");
      try {
        results[i] = { ok: true, value: this.#run(writes[i]!) };
        this.#program.flush();
      } catch (error) {
        if (isTransactionLost(error)) throw error;
        database.run("ROLLBACK TO operation");
        this.#program.reload();
        results[i] = { ok: false, error: toErrorFrame(error, this.#what(writes[i]!)) };
      }
      database.run("RELEASE operation");
    }
    this.#end();
  }

  #run(write: ReceivedWrite): unknown {
    const operation = this.#program.writes[write.operation];
    if (!operation) throw new HoldfastError("failed", `the store has no operation ${write.operation}`);
    this.#faults?.hit(write.operation, "before");
    const value = operation(write.args as never, write.text);
    this.#faults?.hit(write.operation, "after");
    return value;
  }

  #end(): void {
    this.#program.flush();
    this.#faults?.hit("commit", "before");
    this.#commit.run();
    this.#faults?.hit("commit", "after");
  }

  #undo(): void {
    try {
      rollback(this.#program.database);
      this.#program.reload();
    } catch (error) {
      this.#troubled(error, storageError(error, `${this.#program.name} cannot roll back`).message);
    }
  }

  read(id: number, operation: string, args: unknown): void {
    let result: Result;
    try {
      const read = this.#program.reads[operation];
      if (!read) throw new HoldfastError("failed", `the store has no read ${operation}`);
      result = { ok: true, value: read(args as never) };
    } catch (error) {
      const frame = toErrorFrame(error, `${this.#program.name}: ${operation}`);
      result = { ok: false, error: frame };
      if (isDamage(error)) this.#troubled(error, frame.message);
    }
    this.#port.postMessage({ kind: "read", id, result, problem: this.#problem });
  }

  #troubled(error: unknown, reason: string): void {
    if (this.#damaged) return;
    this.#problem = reason;
    this.#damaged = isDamage(error);
    if (this.#damaged) this.#program.damaged(reason);
  }

  #what(write: ReceivedWrite): string {
    return `${this.#program.name}: ${write.operation}`;
  }

  close(): void {
    let error = null;
    try {
      this.#begin.finalize();
      this.#commit.finalize();
      this.#logSize.finalize();
      this.#program.close();
    } catch (caught) {
      error = toErrorFrame(caught, `${this.#program.name} cannot close`);
    }
    this.#port.postMessage({ kind: "closed", error });
  }
}
