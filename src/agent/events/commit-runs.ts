import type { EventCommit, EventStorePort, RunsPort } from "./ports.ts";

/**
 * Commits events with the runs that they start, each with its first lease where it may have one, and hands over the runs
 * that are there now. Resolves with the indexes of the events that the store had already.
 */
export async function commitRuns(
  store: EventStorePort,
  runs: RunsPort,
  commit: EventCommit,
): Promise<number[]> {
  const started = commit.runs.map(({ event, start }) => ({ event, start: runs.lease(start) }));
  let duplicates: number[];
  try {
    ({ duplicates } = await store.commitEvents({ ...commit, runs: started }));
  } catch (error) {
    runs.drop(started.map(({ start }) => start));
    throw error;
  }
  const isKept = ({ event }: { event: number }) => !duplicates.includes(event);
  // Those that are left out first: what they held is for the others.
  runs.drop(started.filter((each) => !isKept(each)).map(({ start }) => start));
  runs.admit(started.filter(isKept).map(({ start }) => start));
  return duplicates;
}
