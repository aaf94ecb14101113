import type { Database } from "bun:sqlite";
import type { WriteGate } from "../../storage/write-gate.ts";
import { DefinitionSweep } from "./definition-sweep.ts";
import { EventHistory } from "./event-history.ts";
import { FilePages } from "./file-pages.ts";
import { OutboxHistory } from "./outbox-history.ts";
import type { Retention } from "./retention.ts";
import { RunHistory } from "./run-history.ts";
import { DeadLetterHistory, FindingHistory } from "./small-histories.ts";
import type { StoreParts } from "./store-parts.ts";
import {
  STEP_MS,
  type TrimCommand,
  type Trimmed,
  type TrimNow,
  type TrimResult,
  TrimStep,
} from "./trim-step.ts";

interface Part {
  step: TrimStep;
  trim(now: TrimNow, rows: number): Trimmed;
}

/**
 * Keeps the store within its bounds by count, age and size, in steps of about a millisecond. Never deletes a row that the
 * hub has not acknowledged, nor an event that such a row or an open run points to.
 */
export class History {
  readonly #parts: StoreParts;
  readonly #retention: Retention;
  readonly #pages: FilePages;
  readonly #mono: () => number;
  readonly #events: EventHistory;
  readonly #runs: RunHistory;
  readonly #definitions: DefinitionSweep;
  readonly #all: Part[];
  /** Whose turn it is first: a part with much to do keeps nobody else waiting. */
  #turn = 0;

  constructor(
    database: Database,
    gate: WriteGate,
    parts: StoreParts,
    retention: Retention,
    mono: () => number,
  ) {
    this.#parts = parts;
    this.#retention = retention;
    this.#mono = mono;
    this.#pages = new FilePages(database, retention.bytes);
    this.#events = new EventHistory(database, gate, parts, retention);
    this.#runs = new RunHistory(database, gate, parts, retention.runs);
    this.#definitions = new DefinitionSweep(database, parts.definitions);
    const outbox = new OutboxHistory(database, gate, parts.heads, retention.acknowledgedRows);
    const findings = new FindingHistory(parts, retention.findings);
    const letters = new DeadLetterHistory(parts, retention.deadLetters);
    this.#all = [
      { step: new TrimStep(2000), trim: (_now, rows) => outbox.trim(rows) },
      { step: new TrimStep(2000), trim: (now, rows) => this.#events.trim(now, rows) },
      { step: new TrimStep(200), trim: (now, rows) => this.#trimRuns(now, rows) },
      { step: new TrimStep(1000), trim: (now, rows) => this.#definitions.trim(now, rows) },
      { step: new TrimStep(500), trim: (now, rows) => findings.trim(now, rows) },
      { step: new TrimStep(500), trim: (now, rows) => letters.trim(now, rows) },
      { step: new TrimStep(256), trim: (_now, pages) => this.#pages.giveBack(pages) },
    ];
  }

  load(): void {
    this.#events.load();
    this.#runs.load();
    this.#definitions.load();
  }

  /** One step of all parts, or of as many as the time is enough for. */
  trim(command: TrimCommand): TrimResult {
    this.#begin(command);
    const now = { ...command, tooLarge: this.#pages.tooLarge() };
    const began = this.#mono();
    let more = false;
    for (let done = 0; done < this.#all.length; done++) {
      const late = this.#mono() - began >= STEP_MS;
      const turn = (this.#turn + done) % this.#all.length;
      if (late) {
        this.#turn = turn;
        return { more: true, excess: this.#excess() };
      }
      if (this.#one(this.#all[turn]!, now)) more = true;
    }
    return { more, excess: this.#excess() };
  }

  #begin({ trustedMs, monoMs, begins }: TrimCommand): void {
    // Not when a part has come to its end: others may go on, and it would never be done with what stays where it is.
    if (begins) {
      this.#events.beginAnew();
      this.#runs.beginAnew();
      this.#parts.marks.forget();
    }
    const { time, marks, trimCounts, heads, events, runs } = this.#parts;
    time.trustedMs = trustedMs;
    trimCounts.begin(monoMs);
    heads.flushRows();
    marks.correct(trustedMs);
    marks.note("events", events.last(), trustedMs, this.#retention.events.ageMs);
    marks.note("runs", runs.last(), trustedMs, this.#retention.runs.ageMs);
  }

  #one({ step, trim }: Part, now: TrimNow): boolean {
    const from = this.#mono();
    const { touched, more } = trim(now, step.rows);
    if (touched > 0) step.took(this.#mono() - from);
    return more;
  }

  /** Room is made by runs only when no event is left that may go. */
  #trimRuns(now: TrimNow, rows: number): Trimmed {
    const trimmed = this.#runs.trim({ ...now, tooLarge: now.tooLarge && this.#events.exhausted }, rows);
    if (trimmed.touched > 0) this.#definitions.want();
    return trimmed;
  }

  /** How far the store is beyond its bounds: trimming hurries when this grows in spite of it. */
  #excess(): number {
    const { events, runs } = this.#parts;
    const rows = Math.max(0, events.count() - this.#retention.events.keep);
    return rows + Math.max(0, runs.ended() - this.#retention.runs.keep) + this.#pages.excess();
  }
}
