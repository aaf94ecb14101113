import type { FindingItem } from "./client/finding-schemas.ts";
import { agentCommand } from "./agent-command.ts";
import { csvHeader, csvRow } from "./finding-csv.ts";
import { FILTER_ARGS, findingFilter, oneOf } from "./finding-filter.ts";

export const MAX_EXPORTED = 10_000;
const PAGE = 200;

export const exported = agentCommand({
  name: "export",
  description: `Write findings to standard output, the newest first, at most ${MAX_EXPORTED}`,
  example: "holdfast finding export --format csv",
  args: {
    ...FILTER_ARGS,
    format: { type: "string", valueHint: "FORMAT", default: "json", description: "csv or json" },
  },
  async run({ client, out, note, signal }, args) {
    const format = oneOf("format", args.format, ["csv", "json"]);
    const filter = findingFilter(args, "all");
    let written = 0;
    let before: string | undefined;
    await out.write(format === "csv" ? `${csvHeader()}\r\n` : "[");
    while (!signal.aborted) {
      const limit = Math.min(PAGE, MAX_EXPORTED - written);
      const { items, next } = await client.findings({ ...filter, before, limit });
      await out.write(format === "csv" ? csvRows(items) : jsonItems(items, written === 0));
      written += items.length;
      if (next === null) break;
      if (written >= MAX_EXPORTED) {
        note(`there are more findings than ${MAX_EXPORTED}: ask for fewer with --state, --rule or --since`);
        break;
      }
      before = next;
    }
    if (format === "json") await out.write("\n]\n");
  },
});

function csvRows(items: FindingItem[]): string {
  return items.map((item) => `${csvRow(item)}\r\n`).join("");
}

function jsonItems(items: FindingItem[], first: boolean): string {
  return items.map((item, index) => `${first && index === 0 ? "" : ","}\n${JSON.stringify(item)}`).join("");
}
