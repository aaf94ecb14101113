import { defineCommand } from "citty";
import { COMMIT, VERSION } from "../core/version.ts";

export const version = defineCommand({
  meta: { name: "version", description: "Print the version\n\nExample: holdfast version" },
  args: { json: { type: "boolean", description: "Print JSON" } },
  run({ args }) {
    const platform = `${process.platform}-${process.arch}`;
    const facts = { version: VERSION, commit: COMMIT, bun: Bun.version, platform };
    const text = `holdfast ${VERSION} (${COMMIT}, Bun ${facts.bun}, ${platform})`;
    console.log(args.json ? JSON.stringify(facts) : text);
  },
});
