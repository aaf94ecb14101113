import type { Database } from "bun:sqlite";
import { RECORD_CLASSES } from "../../model/record.ts";
import type { RowItem, StreamName } from "../../protocol/chain-items.ts";
import { project } from "./projection.ts";

/** What lists show of an agent, against its records. */
export interface ProjectionCounts {
  agent: string;
  /** Records of events, and rows of the table of events that lists read. */
  records: number;
  events: number;
  /** Records of events whose event came before, in another epoch or segment. */
  again: number;
  /** Records that lists cannot show; kept all the same. */
  unreadable: number;
  /** Records whose event, run or step lists do not show, although they could. */
  absent: number;
  /** Events that lists show and no record tells of. */
  unfounded: number;
}

interface Place {
  epoch: string;
  segment: number;
  number: number;
}

/** Compares what lists read (events, runs, steps) with the records that it was made of, row by row. */
export class ProjectionCheck {
  readonly #database: Database;
  readonly #counts = new Map<string, Omit<ProjectionCounts, "agent" | "events" | "unfounded">>();
  readonly #event;
  readonly #run;
  readonly #step;

  constructor(database: Database) {
    this.#database = database;
    this.#event = database.query(
      "SELECT stream, number FROM events WHERE agent = ? AND source = ? AND id = ?",
    );
    this.#run = database.query("SELECT epoch, segment, number FROM runs WHERE id = ? AND agent = ?");
    this.#step = database.query(
      "SELECT epoch, segment, number FROM steps WHERE run = ? AND agent = ? AND step = ?",
    );
  }

  /** `stream`: the id of the stream in the database. */
  take(name: StreamName, stream: number, row: RowItem): void {
    if (row.body === null) return;
    const { number, class: recordClass, body } = row;
    const counts = this.#of(name.agent);
    if (recordClass === RECORD_CLASSES.event) counts.records++;
    const { events, runs, steps, unreadable } = project([{ number, class: recordClass, body }]);
    counts.unreadable += unreadable;
    for (const { event } of events) {
      const shown = this.#event.get(name.agent, event.source, event.id) as {
        stream: number;
        number: number;
      } | null;
      if (shown === null) counts.absent++;
      else if (shown.stream !== stream || shown.number !== number) counts.again++;
    }
    const place = { epoch: name.epoch, segment: name.segment, number };
    for (const { run } of runs) {
      if (isOlder(this.#run.get(run.id, name.agent) as Place | null, place)) counts.absent++;
    }
    for (const { step } of steps) {
      if (isOlder(this.#step.get(step.run, name.agent, step.step) as Place | null, place)) counts.absent++;
    }
  }

  /** One for each agent. */
  end(agents: string[]): ProjectionCounts[] {
    const count = this.#database.query("SELECT count(*) AS events FROM events WHERE agent = ?");
    return agents.map((agent) => {
      const { events } = count.get(agent) as { events: number };
      const counts = this.#of(agent);
      const { records, again, unreadable, absent } = counts;
      return { agent, records, events, again, unreadable, absent, unfounded: events - this.#founded(agent) };
    });
  }

  /** Events that point to a record that is here, and is of an event. */
  #founded(agent: string): number {
    const sql = `SELECT count(*) AS founded FROM events JOIN records ON records.stream = events.stream
        AND records.number = events.number AND records.class = ${RECORD_CLASSES.event} WHERE events.agent = ?`;
    return (this.#database.query(sql).get(agent) as { founded: number }).founded;
  }

  #of(agent: string) {
    let counts = this.#counts.get(agent);
    if (counts === undefined) {
      counts = { records: 0, again: 0, unreadable: 0, absent: 0 };
      this.#counts.set(agent, counts);
    }
    return counts;
  }
}

/** What lists show must be of this record or of a newer one; that of another epoch says nothing. */
function isOlder(shown: Place | null, record: Place): boolean {
  if (shown === null) return true;
  if (shown.epoch !== record.epoch) return false;
  return shown.segment === record.segment ? shown.number < record.number : shown.segment < record.segment;
}

/** What is wrong with what lists show, in words. */
export function projectionProblems({ agent, absent, unfounded }: ProjectionCounts): string[] {
  const problems: string[] = [];
  if (absent > 0) problems.push(`agent ${agent}: ${absent} records are not in what lists show`);
  if (unfounded > 0) problems.push(`agent ${agent}: ${unfounded} events in lists have no record`);
  return problems;
}
