import { expect, test } from "bun:test";
import { renderMetrics } from "../../core/metrics.ts";
import { historyMetrics } from "./history-metrics.ts";

test("rows, what may be kept, and what went by the reason, for each table", async () => {
  const trimmed = { count: 3, age: 0, size: 7 };
  const tables = { events: { rows: 5, keep: 9, ageMs: 1000, trimmed } };
  const { text } = await renderMetrics(historyMetrics({ bytes: 64, tables }));
  expect(text.split("\n").filter((line) => line !== "" && !line.startsWith("#"))).toEqual([
    'holdfast_agent_history_rows{table="events"} 5',
    'holdfast_agent_history_rows_limit{table="events"} 9',
    'holdfast_agent_history_trimmed_total{table="events",reason="count"} 3',
    'holdfast_agent_history_trimmed_total{table="events",reason="age"} 0',
    'holdfast_agent_history_trimmed_total{table="events",reason="size"} 7',
    "holdfast_agent_store_bytes_limit 64",
  ]);
});
