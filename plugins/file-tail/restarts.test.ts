/**
 * A seeded writer that rotates in every way, and a tail that is killed at any emit and started again from the last
 * checkpoint that was committed: each line is committed exactly once. A failure names its seed.
 */
import { afterAll, expect, test } from "bun:test";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  truncateSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Emit, Json } from "../../src/sdk/holdfast.ts";
import { contextFor } from "../../src/testing/plugin-context.ts";
import fileTail from "./plugin.ts";

const root = mkdtempSync(join(tmpdir(), "holdfast-restarts-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function random(seed: number) {
  let state = seed * 2654435761 + 1;
  const next = () => {
    state = (Math.imul(state ^ (state >>> 15), state | 1) + 0x6d2b79f5) | 0;
    return ((state ^ (state >>> 14)) >>> 0) / 4294967296;
  };
  return { chance: (share: number) => next() < share, below: (limit: number) => Math.floor(next() * limit) };
}
type Random = ReturnType<typeof random>;

/** Writes numbered lines; knows in which piece of the log each one is. */
class Writer {
  readonly written: string[] = [];
  readonly pieceOf = new Map<string, number>();
  piece = 0;
  #unfinished = "";

  constructor(
    readonly path: string,
    readonly dice: Random,
  ) {}

  lines(count: number, path = this.path): void {
    let text = "";
    for (let n = 0; n < count; n++) {
      const filler = this.dice.chance(0.02)
        ? "ü€".repeat(this.dice.below(3000))
        : "x".repeat(this.dice.below(120));
      const line = `${this.written.length} ${filler}`;
      this.written.push(line);
      this.pieceOf.set(line, this.piece);
      text += this.dice.chance(0.1) ? `${line}\r\n` : `${line}\n`;
    }
    const bytes = Buffer.from(this.#unfinished + text);
    this.#unfinished = "";
    const cut = this.dice.below(bytes.length + 1);
    appendFileSync(path, bytes.subarray(0, cut));
    appendFileSync(path, bytes.subarray(cut));
  }

  begin(): void {
    if (this.#unfinished !== "") return;
    appendFileSync(this.path, `${this.written.length} begun`);
    this.written.push(`${this.written.length} begun and ended`);
    this.pieceOf.set(this.written.at(-1)!, this.piece);
    this.#unfinished = " and ended\n";
  }

  finish(): void {
    if (this.#unfinished !== "") this.lines(0);
  }

  #shift(): void {
    this.finish();
    for (let n = 60; n >= 1; n--) {
      if (existsSync(`${this.path}.${n}`)) renameSync(`${this.path}.${n}`, `${this.path}.${n + 1}`);
    }
  }

  rename(): void {
    this.#shift();
    renameSync(this.path, `${this.path}.1`);
    if (this.dice.chance(0.3)) this.lines(1 + this.dice.below(3), `${this.path}.1`);
    this.piece++;
    appendFileSync(this.path, "");
  }

  copyTruncate(): void {
    this.#shift();
    copyFileSync(this.path, `${this.path}.1`);
    truncateSync(this.path);
    this.piece++;
  }
}

interface Agent {
  checkpoint: Json | undefined;
  committed: string[];
  ids: Map<string, string>;
  truncations: number;
  /** The last piece of which a line was emitted. */
  seenPiece: number;
}

/** One life of the trigger: `act` is called between emits; ends at a random emit, or when `enough` holds. */
async function live(home: string, agent: Agent, writer: Writer, dice: Random, last: boolean): Promise<void> {
  const stop = new AbortController();
  const { context } = contextFor(fileTail, {
    settings: { path: "a.log", from: "start", every: "10ms", rotate_wait: "40ms" },
    home,
    signal: stop.signal,
    ...(agent.checkpoint !== undefined && { checkpoint: agent.checkpoint }),
  });
  const generator = fileTail.run(context);
  let steps = last ? 0 : 1 + dice.below(6);
  const deadline = performance.now() + (last ? 4_000 : 60);
  try {
    for (let next = generator.next(); ;) {
      const timer = Bun.sleep(last ? 100 : 8).then(() => "idle" as const);
      const item = await Promise.race([next, timer]);
      // Before its first commit it knows nothing of what was there.
      const isKnown = agent.checkpoint !== undefined;
      if (isKnown && steps-- > 0) act(writer, dice, agent);
      if (item !== "idle") {
        if (item.done) return;
        const emit = item.value as Emit;
        const lines = emit.events.filter((event) => event.type === "log.line");
        for (const event of lines) note(agent, writer, event.id!, (event.data as { line: string }).line);
        // Killed before the commit: nothing of this emit is kept, and it has to come again.
        if (!last && isKnown && dice.chance(0.15)) return;
        agent.committed.push(...lines.map((event) => (event.data as { line: string }).line));
        agent.truncations += emit.events.length - lines.length;
        agent.checkpoint = emit.checkpoint;
        next = generator.next();
      }
      const isComplete = steps <= 0 && agent.committed.length >= writer.written.length;
      if (performance.now() > deadline || (isComplete && item === "idle")) return;
    }
  } finally {
    stop.abort();
    await generator.return();
  }
}

function note(agent: Agent, writer: Writer, id: string, line: string): void {
  const known = agent.ids.get(id);
  if (known !== undefined && known !== line) throw new Error(`id ${id} names two lines`);
  agent.ids.set(id, line);
  agent.seenPiece = Math.max(agent.seenPiece, writer.pieceOf.get(line) ?? -1);
}

function act(writer: Writer, dice: Random, agent: Agent | undefined): void {
  const what = dice.below(10);
  if (what < 5) writer.lines(1 + dice.below(dice.chance(0.1) ? 3000 : 40));
  else if (what < 7) writer.begin();
  else if (what < 9) writer.rename();
  // A copy of what a running tail has never seen cannot be told from a file that was always empty.
  else if (!agent || agent.seenPiece === writer.piece) writer.copyTruncate();
}

const SEEDS = Number(process.env.HOLDFAST_TEST_SEEDS ?? 12);

test.each(Array.from({ length: SEEDS }, (_, seed) => seed))(
  "seed %d",
  async (seed) => {
    const dice = random(seed);
    const home = join(root, String(seed));
    mkdirSync(home);
    const writer = new Writer(join(home, "a.log"), dice);
    const agent: Agent = {
      checkpoint: undefined,
      committed: [],
      ids: new Map(),
      truncations: 0,
      seenPiece: -1,
    };
    writer.lines(3);
    for (let life = 0; life < 8; life++) {
      await live(home, agent, writer, dice, false);
      // While it is away; not before it was there, and what it had not seen it cannot ask for.
      if (agent.checkpoint === undefined) continue;
      for (let n = dice.below(3); n > 0; n--) act(writer, dice, dice.chance(0.5) ? agent : undefined);
    }
    writer.finish();
    await live(home, agent, writer, dice, true);
    const sorted = (lines: string[]) => lines.map((line) => Number.parseInt(line)).sort((a, b) => a - b);
    expect(sorted(agent.committed)).toEqual(writer.written.map((_, index) => index));
    expect(new Set(agent.committed)).toEqual(new Set(writer.written));
  },
  20_000,
);
