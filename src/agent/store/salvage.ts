import type { Database } from "bun:sqlite";
import type { WindowEntryRow } from "../../model/rule.ts";
import { SCHEDULE_PREFIX } from "../../model/schedule.ts";
import { migrate } from "../../storage/migrations.ts";
import { openDatabase, transaction } from "../../storage/open-database.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import type { OpenCommand } from "./commands.ts";
import { AGENT_MIGRATIONS } from "./migrations/migrations.ts";
import { parameterFromRow } from "./parameter-rows.ts";
import { laterFromRow } from "./later-rows.ts";
import { keyFromRow, secretFromRow } from "./secret-rows.ts";
import { silenceFromRow } from "./silence-rows.ts";
import { findingFromRow, stateFromRow } from "./rule-rows.ts";
import { deadLetterCells, deadLetterFromRow, fromJson, type SqlRow } from "./run-columns.ts";
import { certificateFromRow, receiptFromRow } from "./receipt-rows.ts";
import { OutboxSalvage } from "./salvage-outbox.ts";
import { RunSalvage } from "./salvage-runs.ts";
import { attempted, type SalvageCounts, SalvageSource } from "./salvage-source.ts";
import { copyOfShort, removeCopy } from "./short-file.ts";
import { createStore, loadParts, type StoreParts, storeParts } from "./store-parts.ts";

export interface SalvageOptions {
  damaged: string;
  /** Where the new store is built; nothing is there yet. */
  fresh: string;
  movedTo: string;
  reason: string;
  command: OpenCommand;
  gate: WriteGate;
}

/**
 * Builds a new store, in a new epoch, from what can still be read of a damaged one: settings, what rules remember,
 * findings, dead letters, the memory, parameters, sealed secrets, silences, receipts of the hub, rows that the hub has not acknowledged, open runs with their locks, runs that are put off. Of checkpoints
 * those of schedules only: triggers start from now. Returns how much was saved and lost.
 */
export function salvage(options: SalvageOptions): Record<string, number> {
  const target = openDatabase(options.fresh);
  try {
    migrate(target, AGENT_MIGRATIONS, options.fresh);
    const parts = storeParts(target, options.gate);
    parts.time.trustedMs = options.command.trustedMs;
    return transaction(target, () => fill(target, parts, options));
  } finally {
    options.gate.close();
    target.close(true);
  }
}

function fill(target: Database, parts: StoreParts, options: SalvageOptions): Record<string, number> {
  const { command, movedTo, reason } = options;
  createStore(target, parts, { epoch: command.newEpoch, reason: "salvaged", nowMs: command.nowMs });
  loadParts(parts);
  const counts: SalvageCounts = {
    settings: 0,
    schedules: 0,
    laterRuns: 0,
    ruleStates: 0,
    windowEntries: 0,
    findings: 0,
    deadLetters: 0,
    memory: 0,
    parameters: 0,
    secrets: 0,
    silences: 0,
    receipts: 0,
    outbox: 0,
    outboxLost: 0,
    runs: 0,
    runsLost: 0,
  };
  const copy = `${options.fresh}-source`;
  const readable = copyOfShort(options.damaged, copy) ? copy : options.damaged;
  let source: Database | undefined;
  try {
    source = openDatabase(readable, { readonly: true });
    carry(new SalvageSource(source), parts, counts, command.nowMs);
  } catch {
    // What could not even be opened holds nothing that can be read; the counts say so.
  } finally {
    source?.close();
    removeCopy(copy);
  }
  parts.values.setMeta("salvage", { movedTo, reason, salvaged: counts });
  parts.values.flush();
  parts.heads.flush();
  parts.memory.flush();
  return counts;
}

function carry(source: SalvageSource, parts: StoreParts, counts: SalvageCounts, nowMs: number): void {
  const { values, rules, dead, memory, parameters, secrets } = parts;
  const table = (name: string, count: keyof SalvageCounts, put: (row: SqlRow) => void) => {
    for (const row of source.table(name)) if (attempted(() => put(row))) counts[count]!++;
  };
  table("settings", "settings", (row) => values.setSetting(row.key as string, fromJson(row.value)));
  table("checkpoints", "schedules", (row) => {
    const trigger = row.trigger as string;
    if (!trigger.startsWith(SCHEDULE_PREFIX)) throw new Error("of a trigger, which starts from now");
    values.setCheckpoint(trigger, fromJson(row.value), row.recorded_ms as number);
  });
  table("later_runs", "laterRuns", (row) => {
    if (row.state !== "waiting") throw new Error("it has ended");
    parts.laters.insert(laterFromRow(row));
  });
  table("rule_states", "ruleStates", (row) => rules.putState(stateFromRow(row)));
  table("window_entries", "windowEntries", (row) => rules.addEntry(entryFromRow(row)));
  table("findings", "findings", (row) => rules.putFinding(findingFromRow(row)));
  // Keys that open nothing go when a newer one is put: what they open is put before them.
  table("secrets", "secrets", (row) => secrets.put({ key: null, secrets: [secretFromRow(row as never)] }));
  for (const row of source.table("secret_keys"))
    attempted(() => secrets.put({ key: keyFromRow(row as never), secrets: [] }));
  table("silences", "silences", (row) => parts.silences.put(silenceFromRow(row as never)));
  for (const row of source.table("receipt_certificates"))
    attempted(() => parts.receipts.putCertificates([certificateFromRow(row as never)]));
  table("receipts", "receipts", (row) => parts.receipts.put(receiptFromRow(row as never)));
  table("parameters", "parameters", (row) => parameters.put(parameterFromRow(row as never)));
  table("memory", "memory", (row) => memory.restore(row as never));
  table("dead_letters", "deadLetters", (row) => dead.put(deadLetterCells(deadLetterFromRow(row))));
  new OutboxSalvage(source, parts, counts, nowMs).all();
  new RunSalvage(source, parts, counts, nowMs).all();
}

function entryFromRow(row: SqlRow): WindowEntryRow {
  const { rule, key, at_ms: atMs, value } = row;
  return {
    rule: rule as string,
    key: key as string,
    atMs: atMs as number,
    value: value as WindowEntryRow["value"],
  };
}
