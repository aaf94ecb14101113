import { basename } from "node:path";
import type { ProposedEvent } from "../model/event.ts";
import type { AgentStore } from "./store/port.ts";

/** Which triggers had no checkpoint any more when a damaged store was set aside; a later one has simply none yet. */
const SETTING = "lost_triggers";

type Store = Pick<AgentStore, "facts" | "setting" | "setSetting" | "checkpoint">;

/**
 * The triggers whose checkpoints went with a damaged store. They begin with what comes from now on, however they are set:
 * what they told before must not set off everything once more.
 */
export async function lostTriggers(store: Store, configured: string[]): Promise<ReadonlySet<string>> {
  const { salvage } = store.facts;
  if (salvage === null) return new Set();
  const names = await namesAtLoss(store, salvage.movedTo, configured);
  const lost = new Set<string>();
  for (const name of configured) {
    if (names.includes(name) && (await store.checkpoint(name)) === undefined) lost.add(name);
  }
  return lost;
}

async function namesAtLoss(store: Store, movedTo: string, configured: string[]): Promise<string[]> {
  const known = (await store.setting(SETTING)) as { movedTo: string; names: string[] } | undefined;
  if (known?.movedTo === movedTo) return known.names;
  await store.setSetting(SETTING, { movedTo, names: configured });
  return configured;
}

/** Says that a trigger may have missed something. Its id makes it the same event however often the agent starts. */
export function gapEvent({ facts: { salvage } }: Pick<AgentStore, "facts">, trigger: string): ProposedEvent {
  const aside = basename(salvage?.movedTo ?? "");
  return {
    id: `gap-${aside}`,
    type: "trigger.gap",
    subject: trigger,
    severity: "warning",
    data: {
      message: "its position was lost with a damaged store: it starts from now",
      store: aside,
    },
  };
}
