import { statSync } from "node:fs";
import { LANES } from "../../model/record.ts";
import type { Faults } from "../../storage/faults.ts";
import { schemaVersion } from "../../storage/migrations.ts";
import type { StorageProgram } from "../../storage/storage-thread.ts";
import { WriteGate } from "../../storage/write-gate.ts";
import { commitEvents } from "./commit-events.ts";
import type {
  AcknowledgeCommand,
  ChangeRunCommand,
  CommitEventsCommand,
  CommitSignal,
  CountedRows,
  OpenCommand,
  RenewEpochCommand,
} from "./commands.ts";
import { noteDamage } from "./damage.ts";
import { History } from "./history.ts";
import { openAgentDatabase } from "./open-agent-database.ts";
import type { StoreFacts, StreamState } from "./port.ts";
import { loadParts, type StoreParts } from "./store-parts.ts";

/** The agent's store as it runs on the storage thread. */
export function agentProgram(command: OpenCommand, faults: Faults | undefined): StorageProgram {
  const gate = new WriteGate(faults);
  const { database, parts, salvage } = openAgentDatabase(command, gate);
  const { values, heads, events, runs, outbox } = parts;
  const history = new History(database, gate, parts, command.retention);
  const facts: StoreFacts = { epoch: heads.epoch, schemaVersion: schemaVersion(database), salvage };
  let told = heads.epoch;
  return {
    database,
    name: command.path,
    facts,
    writes: {
      commitEvents: (args: CommitEventsCommand, text: string) => commitEvents(parts, args, text),
      changeRun: (change: ChangeRunCommand) => runs.change(change),
      setOutputCursor: (args: { output: string; n: number }) => values.setOutputCursor(args.output, args.n),
      acknowledge: (cursor: AcknowledgeCommand) => outbox.acknowledge(cursor),
      renewEpoch: (args: RenewEpochCommand) => outbox.renew(args),
      setSetting: (args: { key: string; value: never }) => values.setSetting(args.key, args.value),
      trim: () => history.trim(),
      probe: (args: { nowMs: number }) => values.setMeta("probed_ms", args.nowMs),
    },
    reads: {
      checkpoint: (trigger: string) => values.checkpoint(trigger),
      ruleTimes: () => values.ruleTimes(),
      event: (args: { source: string; id: string }) => events.find(args.source, args.id)?.body ?? null,
      eventsAfter: (args: { n: number; limit: number }) => events.after(args.n, args.limit),
      lastEvent: () => events.last(),
      openRuns: () => runs.open(events),
      run: (id: string) => runs.find(id),
      runs: (limit: number) => runs.list(limit),
      outputCursor: (output: string) => values.outputCursor(output),
      streams: () => streamStates(parts),
      readBatch: (args: [number, number, number, number, number]) => outbox.read(...args),
      setting: (key: string) => values.setting(key),
      counts: () => countRows(command.path, parts),
    },
    flush: () => heads.flush(),
    reload: () => loadParts(parts),
    signal: (): CommitSignal | null => {
      if (!heads.added && heads.epoch === told) return null;
      const signal = { outbox: heads.added, epoch: heads.epoch };
      heads.added = false;
      told = heads.epoch;
      return signal;
    },
    damaged: (reason) => noteDamage(command.path, reason),
    close: () => {
      gate.close();
      database.close(true);
    },
  };
}

function streamStates(parts: StoreParts): StreamState[] {
  return parts.heads.all().map(({ lane, segment, last, lastHash, acknowledged }) => ({
    lane,
    segment,
    last,
    lastHash: lastHash.slice(),
    acknowledged,
  }));
}

function countRows(path: string, parts: StoreParts): CountedRows {
  const unacknowledged: Record<string, number> = {};
  for (const [name, lane] of Object.entries(LANES)) {
    const heads = parts.heads.all().filter((head) => head.lane === lane);
    unacknowledged[name] = heads.reduce((sum, head) => sum + head.last - head.acknowledged, 0);
  }
  const fileBytes = ["", "-wal"]
    .map((suffix) => statSync(path + suffix, { throwIfNoEntry: false })?.size ?? 0)
    .reduce((sum, size) => sum + size, 0);
  return { events: parts.events.count(), openRuns: parts.runs.openCount(), unacknowledged, fileBytes };
}
