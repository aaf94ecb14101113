import { expect, test } from "bun:test";
import { renderMetrics } from "../../core/metrics.ts";
import { outboxMetrics } from "./outbox-metrics.ts";

test("what waits, what may, and what was lost by class and reason", async () => {
  const lost = { event: { cap: 7, damaged: 2 }, run: { cap: 1 } };
  const outbox = { bytes: 64, cap: { rows: 9, bytes: 128 }, lost };
  const { text } = await renderMetrics(outboxMetrics({ unacknowledged: { events: 5 }, outbox }));
  expect(text.split("\n").filter((line) => line !== "" && !line.startsWith("#"))).toEqual([
    'holdfast_agent_outbox_rows{lane="events"} 5',
    "holdfast_agent_outbox_bytes 64",
    "holdfast_agent_outbox_rows_limit 9",
    "holdfast_agent_outbox_bytes_limit 128",
    'holdfast_outbox_lost_rows_total{class="event",reason="cap"} 7',
    'holdfast_outbox_lost_rows_total{class="event",reason="damaged"} 2',
    'holdfast_outbox_lost_rows_total{class="run",reason="cap"} 1',
  ]);
});
