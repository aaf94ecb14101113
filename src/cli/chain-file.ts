import {
  closeSync,
  createReadStream,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { createInterface } from "node:readline";
import { HoldfastError, messageOf, systemCode } from "../core/errors.ts";
import type { ChainItem } from "../protocol/chain-items.ts";
import { chainItem, chainLine } from "../protocol/chain-lines.ts";

const FLUSH_CHARACTERS = 1 << 18;

/** An export as it is written: beside its place, and there only when it is whole. */
export class ChainFile {
  readonly #path: string;
  readonly #temporary: string;
  readonly #file: number;
  #text = "";
  #lines = 0;

  /** Throws `conflict` when there is such a file: it may be the proof of another day. */
  constructor(path: string) {
    this.#path = path;
    this.#temporary = `${path}.new-${process.pid}`;
    if (statSync(path, { throwIfNoEntry: false }) !== undefined) {
      throw new HoldfastError("conflict", `${path} exists already: move it away, or name another file`);
    }
    try {
      this.#file = openSync(this.#temporary, "wx", 0o600);
    } catch (error) {
      throw cannotWrite(path, error);
    }
  }

  take(item: ChainItem): void {
    this.#line(chainLine(item));
  }

  end(): void {
    this.#line(chainLine({ kind: "end", lines: this.#lines }));
    this.#flush();
    fsyncSync(this.#file);
    closeSync(this.#file);
    renameSync(this.#temporary, this.#path);
  }

  discard(): void {
    closeSync(this.#file);
    rmSync(this.#temporary, { force: true });
  }

  #line(line: string): void {
    this.#text += `${line}\n`;
    this.#lines++;
    if (this.#text.length >= FLUSH_CHARACTERS) this.#flush();
  }

  #flush(): void {
    const bytes = Buffer.from(this.#text);
    this.#text = "";
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(this.#file, bytes, at);
    } catch (error) {
      throw cannotWrite(this.#path, error);
    }
  }
}

/** The items of an export. Calls `note` for what is wrong with the file as a whole. */
export async function* readChainFile(
  path: string,
  note: (problem: string) => void,
): AsyncGenerator<ChainItem> {
  let lines = 0;
  let end: number | undefined;
  try {
    for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
      const item = chainItem(line, ++lines);
      if (item?.kind === "end") end = item.lines;
      else if (item !== null) yield item;
    }
  } catch (error) {
    if (systemCode(error) === "ENOENT") throw new HoldfastError("not_found", `there is no file ${path}`);
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError("failed", `cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
  if (lines === 0) throw new HoldfastError("invalid", `${path} is empty`);
  if (end === undefined) note("the export was cut short: it has no last line");
  else if (end !== lines - 1) note(`the export had ${end} lines before its last, and has ${lines - 1}`);
}

function cannotWrite(path: string, error: unknown): HoldfastError {
  return new HoldfastError("failed", `cannot write ${path}: ${messageOf(error)}`, { cause: error });
}
