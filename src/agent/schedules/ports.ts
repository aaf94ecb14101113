import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/logger.ts";
import type { TimeWatch } from "../../core/time-watch.ts";
import type { CloudEvent, ProposedEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import type { ParentStep, Starter } from "../../model/run.ts";

export interface StartingEvent {
  event: ProposedEvent & { id: string };
  /** What led to it. */
  chain?: Pick<CloudEvent, "causationid" | "hops">;
  start: {
    pipeline: string;
    starter: Starter;
    params: Json;
    rule?: string | null;
    parent?: ParentStep;
  } | null;
}

/** Whether an event is new, and the run that it started. */
export interface Started {
  kept: boolean;
  run: string | null;
}

export interface SchedulePorts {
  agentId: string;
  /** Where the schedules stand, by the name of their trigger; what is not in `keep` is forgotten. */
  remembered(keep: string[]): Promise<{ trigger: string; value: Json }[]>;
  /** Keeps events, the runs that they start and where the schedule stands, in one transaction. */
  record(trigger: string, events: StartingEvent[], memory: Json): Promise<Started[]>;
  /** Resolves when more may be recorded and another run opened. */
  room(): Promise<void>;
  clock: Clock;
  watch: TimeWatch;
  log: Logger;
}
