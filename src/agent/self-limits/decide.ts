import {
  type Amounts,
  RESOURCE_NAMES,
  type ResourceLevel,
  type ResourceName,
} from "../../model/resource-use.ts";

/** Shares of a limit at which a level is entered, and below which it is left: a use that swings does not flap. */
const WARN_FROM = 0.8;
const WARN_UNTIL = 0.75;
const OVER_UNTIL = 0.95;
/** Samples between two restarts of a trigger, if those before were not enough. */
const RESTART_EVERY = 10;
/** How long each batch of events waits while there is too little processor time. */
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 5_000;

export type Reaction = "stop_idle_workers" | "collect_garbage" | "restart_trigger" | "trim_logs";

/** What is known after a sample, for the next one. */
export interface LimitState {
  levels: Record<ResourceName, ResourceLevel>;
  /** Samples in a row above the limit. */
  samplesOver: Record<ResourceName, number>;
  /** Between two batches of events; 0: they go through. */
  delayMs: number;
  /** No event goes through. */
  held: boolean;
}

export interface Decision {
  state: LimitState;
  /** Done once, now. What lasts (`delayMs`, `held`) is in the state. */
  reactions: Reaction[];
}

export const UNTROUBLED: LimitState = {
  levels: { memory: "ok", cpu: "ok", disk: "ok" },
  samplesOver: { memory: 0, cpu: 0, disk: 0 },
  delayMs: 0,
  held: false,
};

/** What follows from one sample. What costs least comes first; what costs more comes when that was not enough. */
export function decide(used: Amounts, limits: Amounts, before: LimitState): Decision {
  const each = <T>(of: (name: ResourceName) => T) =>
    Object.fromEntries(RESOURCE_NAMES.map((name) => [name, of(name)])) as Record<ResourceName, T>;
  const levels = each((name) => levelOf(used[name] / limits[name], before.levels[name]));
  const samplesOver = each((name) => (used[name] > limits[name] ? before.samplesOver[name] + 1 : 0));
  return {
    state: {
      levels,
      samplesOver,
      delayMs: delayOf(before.delayMs, samplesOver.cpu > 0, levels.cpu),
      held: levels.disk === "over" && (before.held || samplesOver.disk > 1),
    },
    reactions: [
      ...memoryReactions(samplesOver.memory),
      ...(samplesOver.disk > 0 ? (["trim_logs"] as const) : []),
    ],
  };
}

function levelOf(share: number, before: ResourceLevel): ResourceLevel {
  if (share > 1 || (before === "over" && share > OVER_UNTIL)) return "over";
  if (share >= WARN_FROM || (before !== "ok" && share > WARN_UNTIL)) return "warning";
  return "ok";
}

function memoryReactions(samplesOver: number): Reaction[] {
  if (samplesOver === 0) return [];
  const again = (samplesOver - 2) % RESTART_EVERY === 0;
  return ["stop_idle_workers", "collect_garbage", ...(again ? (["restart_trigger"] as const) : [])];
}

/** Doubles while there is too little, stays while it is just enough, and is halved when there is room. */
function delayOf(before: number, over: boolean, level: ResourceLevel): number {
  if (over) return before === 0 ? FIRST_DELAY_MS : Math.min(LONGEST_DELAY_MS, before * 2);
  if (level === "over") return before;
  return before / 2 < FIRST_DELAY_MS ? 0 : before / 2;
}
