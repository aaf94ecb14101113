import type { Migration } from "../../../storage/migrations.ts";
import { first } from "./0001-first.ts";
import { durableEngine } from "./0002-durable-engine.ts";
import { laterRuns } from "./0003-later-runs.ts";
import { sharing } from "./0004-sharing.ts";
import { findings } from "./0005-findings.ts";
import { silences } from "./0006-silences.ts";
import { lookingBack } from "./0007-looking-back.ts";
import { history } from "./0008-history.ts";
import { outboxSizes } from "./0009-outbox-sizes.ts";
import { receipts } from "./0010-receipts.ts";
import { sentRows } from "./0011-sent-rows.ts";

/** Schema of `agent.db`, in order. Append a new one; never change one that was released. */
export const AGENT_MIGRATIONS: Migration[] = [
  first,
  durableEngine,
  laterRuns,
  sharing,
  findings,
  silences,
  lookingBack,
  history,
  outboxSizes,
  receipts,
  sentRows,
];

/** `PRAGMA application_id` of an agent's store: "HFAG". */
export const AGENT_APPLICATION_ID = 0x48464147;
