import { Database } from "bun:sqlite";
import { eventSource } from "../../model/event.ts";
import { LATER_TRIGGER } from "../../model/schedule-later.ts";
import { AGENT_ID } from "./names.ts";
import type { World } from "./world.ts";

interface StoredLater {
  id: string;
  state: string;
  due: number;
  byWall: number;
}

/** A run that was put off was started exactly once, or was cancelled and never started, or its time has not come. */
export function checkLaterRuns(world: World): void {
  const fail = (what: string) => world.fail("a later run starts once", what);
  const source = eventSource(AGENT_ID, LATER_TRIGGER);
  const started = new Map<string, number>();
  for (const { row } of world.observedRuns()) {
    if (row.eventSource !== source || row.starter !== "schedule") continue;
    started.set(row.eventId!, (started.get(row.eventId!) ?? 0) + 1);
  }
  const rows = storedLaters(world.database);
  for (const { id, state, due, byWall } of rows) {
    const runs = started.get(id) ?? 0;
    if (runs !== (state === "started" ? 1 : 0)) fail(`${id} is ${state}, and ${runs} runs are of it`);
    if (state === "refused") fail(`${id} was refused`);
    const now = byWall ? world.clock.wall() : world.clock.trusted();
    if (state === "waiting" && due <= now) fail(`${id} is due and waits`);
    if (world.shared.cancelled.has(id) && state !== "cancelled")
      fail(`the cancel of ${id} was answered, and it is ${state}`);
  }
  const known = new Set(rows.map(({ id }) => id));
  for (const id of started.keys()) if (!known.has(id)) fail(`a run is of ${id}, which nobody has put off`);
}

function storedLaters(path: string): StoredLater[] {
  const database = new Database(path, { readonly: true });
  try {
    return database
      .query("SELECT id, state, due_ms AS due, by_wall AS byWall FROM later_runs ORDER BY n")
      .all() as StoredLater[];
  } finally {
    database.close();
  }
}
