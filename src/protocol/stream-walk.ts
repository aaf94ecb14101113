import { type LossRecordBody, RECORD_CLASSES } from "../model/record.ts";
import { rowHash } from "./chain.ts";
import type { RowItem, StreamItem } from "./chain-items.ts";
import { parseLoss } from "./loss.ts";

export type ProblemKind = "missing" | "reordered" | "altered" | "signature" | "receipt";

export interface ChainProblem {
  kind: ProblemKind;
  /** The first number that it is about. */
  number: number;
  message: string;
}

/** Where the chain broke, while rows after it are looked through for the one that belongs there. */
interface Break {
  number: number;
  previous: string;
  /** What the row with this number has as its hash; undefined when there is none. */
  stored: string | undefined;
  problem: ChainProblem;
  /** Hash of the row that was looked at last, as stored. */
  before: string;
  /** No row can show it in another light. */
  isFinal: boolean;
}

const ZERO = "00".repeat(32);

/** Recomputes the chain of one stream, row by row, in constant memory. It tells the first thing that is wrong. */
export class StreamWalk {
  readonly stream: StreamItem;
  readonly classes = new Map<number, number>();
  readonly losses: { loss: LossRecordBody; row: RowItem }[] = [];
  rows = 0;
  /** Hash of the last row that followed, and its number. */
  hash: string;
  number: number;
  readonly #wanted = new Map<number, string | undefined>();
  #linkAt: number | undefined;
  #break: Break | undefined;

  constructor(stream: StreamItem) {
    this.stream = stream;
    this.hash = stream.afterHash;
    this.number = stream.after;
    if (stream.after === 0 && stream.afterHash !== stream.firstLink) {
      this.#breakAt("altered", 1, "the stream does not begin with its first link");
    } else if (stream.segment === 1 && stream.firstLink !== ZERO) {
      this.#breakAt("altered", 1, "segment 1 does not follow the zero hash");
    }
    this.#passed();
  }

  /** Ask before the rows for the hash of one. */
  want(number: number): void {
    this.#wanted.set(number, number === this.number ? this.hash : undefined);
  }

  /** Undefined when the walk did not come to that number. */
  hashAt(number: number): string | undefined {
    return this.#wanted.get(number);
  }

  take(row: RowItem): void {
    this.rows++;
    this.classes.set(row.class, (this.classes.get(row.class) ?? 0) + 1);
    const broken = this.#break;
    if (broken !== undefined) return this.#search(broken, row);
    const due = this.number + 1;
    const loss = lossOf(row);
    const begins = loss?.first ?? row.number;
    if (begins !== due) return this.#misplaced(row, begins, due);
    const hash = hashAfter(this.hash, due, row, loss);
    const end = loss?.last ?? due;
    if (hash === undefined || hash !== row.hash || end !== row.number) return this.#different(row, due);
    if (loss !== undefined) this.losses.push({ loss, row });
    this.hash = hash;
    this.number = end;
    this.#passed();
  }

  /** What is wrong with the chain; null when nothing is. */
  end(): ChainProblem | null {
    if (this.#break !== undefined) return this.#break.problem;
    const { last, lastHash, nextLink } = this.stream;
    if (this.number < last) {
      return problem("missing", this.number + 1, `rows ${this.number + 1} to ${last} are missing at the end`);
    }
    if (this.number > last) {
      return problem("altered", last + 1, `there are rows after ${last}, which is said to be the last`);
    }
    if (this.hash !== lastHash) {
      return problem("altered", last, `the stream says that row ${last} has another hash`);
    }
    if (nextLink === null || nextLink === this.hash || this.#linkAt === undefined) return null;
    const message = `the next segment follows row ${this.#linkAt}, but this one goes on after it`;
    return problem("altered", this.#linkAt + 1, message);
  }

  /** Rows are still on their way: the next segment does not follow the last row that is here. */
  get unfinished(): boolean {
    const { nextLink } = this.stream;
    return nextLink !== null && this.#linkAt === undefined;
  }

  #passed(): void {
    if (this.#wanted.has(this.number)) this.#wanted.set(this.number, this.hash);
    if (this.hash === this.stream.nextLink) this.#linkAt = this.number;
  }

  #misplaced(row: RowItem, begins: number, due: number): void {
    if (begins < due) {
      this.#breakAt("reordered", begins, `row ${begins} comes again after row ${this.number}`, row.hash);
      return;
    }
    const what = begins === due + 1 ? `row ${due} is missing` : `rows ${due} to ${begins - 1} are missing`;
    this.#breakAt("missing", due, what);
    this.#break!.before = row.hash;
  }

  #different(row: RowItem, due: number): void {
    const what = row.body === null ? "its body is gone" : "its bytes are not those that were committed";
    this.#breakAt("altered", due, `row ${due} is altered: ${what}`, row.hash);
  }

  #breakAt(kind: ProblemKind, number: number, message: string, stored?: string): void {
    const before = stored ?? this.hash;
    const found = problem(kind, number, message);
    const isFinal = kind === "reordered" || this.rows === 0;
    this.#break = { number, previous: this.hash, stored, problem: found, before, isFinal };
  }

  /** A later row that belongs where the chain broke tells that rows were put in another order. */
  #search(broken: Break, row: RowItem): void {
    const { number, previous, stored, before } = broken;
    broken.before = row.hash;
    if (broken.isFinal) return;
    const loss = lossOf(row);
    if (loss !== undefined && loss.first !== number) return;
    const fitting = hashAfter(previous, number, row, loss);
    if (fitting === undefined) return;
    const moved = fitting === row.hash;
    const bodyMoved = fitting === stored && hashAfter(before, row.number, row, loss) !== row.hash;
    if (!moved && !bodyMoved) return;
    const message = `rows are in another order: row ${number} stands ${moved && row.number === number ? "later" : `at ${row.number}`}`;
    broken.problem = problem("reordered", number, message);
    broken.isFinal = true;
  }
}

export function problem(kind: ProblemKind, number: number, message: string): ChainProblem {
  return { kind, number, message };
}

function lossOf(row: RowItem): LossRecordBody | undefined {
  if (row.class !== RECORD_CLASSES.loss || row.body === null) return undefined;
  try {
    return parseLoss(row.body);
  } catch {
    return undefined;
  }
}

/** The hash of a row that follows `previous`; undefined when it cannot. */
function hashAfter(
  previous: string,
  number: number,
  row: RowItem,
  loss: LossRecordBody | undefined,
): string | undefined {
  if (row.body === null) return undefined;
  if (row.class === RECORD_CLASSES.loss) return loss?.prevHash === previous ? loss.lastHash : undefined;
  return rowHash(Buffer.from(previous, "hex"), number, row.class, row.body).toHex();
}
