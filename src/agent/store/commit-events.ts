import { TextReader, TextWriter } from "../../storage/text-parts.ts";
import { type CommitEventsCommand, EVENT_NUMBERS } from "./commands.ts";
import type { NewEvent } from "./event-rows.ts";
import { eachRecord, type RunPacker } from "./pack-runs.ts";
import type { EventCommit } from "./port.ts";
import { RUN_CELL } from "./run-columns.ts";
import type { StoreParts } from "./store-parts.ts";

/** One trigger's emit: events, outbox rows, the runs they start, what the rules remember and the checkpoint. Returns the duplicates. */
export function commitEvents(parts: StoreParts, command: CommitEventsCommand, text: string): number[] {
  const { values, events, definitions, rules, runs, laters } = parts;
  if (command.rules) rules.check(command.rules);
  const reader = new TextReader(text);
  const numbers = events.insert(unpackEvents(command, reader), command.recordedMs);
  for (const { event, start } of command.runs) {
    const n = numbers[event] ?? 0;
    if (n > 0) runs.insert(start, reader, n);
    else {
      // The sender takes the version for known from here on, whatever became of the run.
      definitions.add(start.run[RUN_CELL.definition] as string, start.definition);
      eachRecord(start.records, reader, () => {});
    }
  }
  if (command.rules) rules.change(command.rules);
  if (command.checkpoint) values.setCheckpoint(command.trigger, command.checkpoint.value, command.recordedMs);
  if (command.later) laters.end(command.later.id, command.later.state);
  const duplicates: number[] = [];
  for (let i = 0; i < numbers.length; i++) if (numbers[i] === 0) duplicates.push(i);
  return duplicates;
}

/** The arguments and the text of the operation that crosses to the thread. */
export function packEvents(
  commit: EventCommit,
  packer: RunPacker,
): { command: CommitEventsCommand; text: string } {
  const sources = new Map<string, number>();
  const types = new Map<string, number>();
  const numbers: number[] = [];
  const text = new TextWriter();
  for (const { source, id, type, timeMs, body } of commit.events) {
    numbers.push(indexOf(sources, source), indexOf(types, type), timeMs, text.add(id), text.add(body));
  }
  const command: CommitEventsCommand = {
    trigger: commit.trigger,
    sources: [...sources.keys()],
    types: [...types.keys()],
    events: numbers,
    runs: commit.runs.map(({ event, start }) => ({ event, start: packer.run(start, text) })),
    ...(commit.rules ? { rules: commit.rules } : {}),
    ...(commit.later ? { later: commit.later } : {}),
    recordedMs: commit.recordedMs,
    ...(commit.checkpoint === undefined ? {} : { checkpoint: { value: commit.checkpoint } }),
  };
  return { command, text: text.toString() };
}

function indexOf(known: Map<string, number>, text: string): number {
  let index = known.get(text);
  if (index === undefined) known.set(text, (index = known.size));
  return index;
}

function unpackEvents(command: CommitEventsCommand, text: TextReader): NewEvent[] {
  const { events: numbers, sources, types } = command;
  const events: NewEvent[] = [];
  for (let i = 0; i < numbers.length; i += EVENT_NUMBERS) {
    const id = text.take(numbers[i + 3]!);
    const body = text.take(numbers[i + 4]!);
    const timeMs = numbers[i + 2]!;
    events.push({ source: sources[numbers[i]!]!, id, type: types[numbers[i + 1]!]!, timeMs, body });
  }
  return events;
}
