import { type CommitEventsCommand, EVENT_NUMBERS } from "./commands.ts";
import type { NewEvent } from "./event-rows.ts";
import type { EventCommit, EventCommitResult } from "./port.ts";
import type { StoreParts } from "./store-parts.ts";

/** One trigger's emit: events, outbox rows, the runs they start, rule times and the checkpoint. */
export function commitEvents(
  parts: StoreParts,
  command: CommitEventsCommand,
  text: string,
): EventCommitResult {
  const { values, events, runs } = parts;
  const numbers = events.insert(unpackEvents(command, text), command.recordedMs);
  for (const { event, rule, firedAtMs, start } of command.runs) {
    const n = numbers[event];
    if (n === undefined || n === 0) continue;
    runs.insert(start, n);
    values.setRuleTime(rule, firedAtMs);
  }
  if (command.checkpoint) values.setCheckpoint(command.trigger, command.checkpoint.value, command.recordedMs);
  const duplicates: number[] = [];
  for (let i = 0; i < numbers.length; i++) if (numbers[i] === 0) duplicates.push(i);
  return { duplicates };
}

/** The arguments and the text of the operation that crosses to the thread. */
export function packEvents(commit: EventCommit): { command: CommitEventsCommand; text: string } {
  const sources = new Map<string, number>();
  const types = new Map<string, number>();
  const numbers: number[] = [];
  const parts: string[] = [];
  for (const { source, id, type, timeMs, body } of commit.events) {
    numbers.push(indexOf(sources, source), indexOf(types, type), timeMs, id.length, body.length);
    parts.push(id, body);
  }
  const command: CommitEventsCommand = {
    trigger: commit.trigger,
    sources: [...sources.keys()],
    types: [...types.keys()],
    events: numbers,
    runs: commit.runs,
    recordedMs: commit.recordedMs,
    ...(commit.checkpoint === undefined ? {} : { checkpoint: { value: commit.checkpoint } }),
  };
  return { command, text: parts.join("") };
}

function indexOf(known: Map<string, number>, text: string): number {
  let index = known.get(text);
  if (index === undefined) known.set(text, (index = known.size));
  return index;
}

function unpackEvents(command: CommitEventsCommand, text: string): NewEvent[] {
  const { events: numbers, sources, types } = command;
  const events: NewEvent[] = [];
  let at = 0;
  for (let i = 0; i < numbers.length; i += EVENT_NUMBERS) {
    const id = text.substring(at, (at += numbers[i + 3]!));
    const body = text.substring(at, (at += numbers[i + 4]!));
    const timeMs = numbers[i + 2]!;
    events.push({ source: sources[numbers[i]!]!, id, type: types[numbers[i + 1]!]!, timeMs, body });
  }
  return events;
}
