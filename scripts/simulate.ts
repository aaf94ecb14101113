/** Runs simulations: `npm run simulate -- --seeds N --from M`. The last line is `N passed, N failed`. */
import { parseArgs } from "node:util";
import { FaultTable, writeLabels } from "../src/testing/simulation/faults-drawn.ts";
import { report, simulate } from "../src/testing/simulation/simulate.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "200" },
    from: { type: "string", default: "1" },
    /** Prints each story, also of seeds that pass. */
    story: { type: "boolean", default: false },
  },
});
const seeds = Number(values.seeds);
const from = Number(values.from);
if (!Number.isSafeInteger(seeds) || !Number.isSafeInteger(from) || seeds < 1 || from < 0) {
  console.error("usage: npm run simulate -- [--seeds N] [--from M] [--story]");
  process.exit(2);
}

const table = new FaultTable(await writeLabels());
let failed = 0;
for (let seed = from; seed < from + seeds; seed++) {
  const result = await simulate(seed, table);
  if (result.violation !== null) {
    failed++;
    console.log(report(result));
  } else if (values.story) console.log(`${result.story.join("\n")}\n${result.hash}`);
}
console.log(table.toString());
/** Enough seeds that each write must have had each fault. */
const missing = seeds >= 200 ? table.missing() : [];
for (const each of missing) console.log(`never struck: ${each}`);
console.log(`${seeds - failed} passed, ${failed + missing.length} failed`);
process.exit(failed + missing.length > 0 ? 1 : 0);
