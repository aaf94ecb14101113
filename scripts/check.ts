/**
 * `npm run check [-- --no-tests]`: format, types, generated code, then the tests (the architecture is one of them).
 * All parts run, so that one look shows everything that is wrong.
 *
 * Bun hands `bun check` to this script because of its name: there, do what was typed, and only check the types.
 */
import { runCommand, runScript } from "./run-command.ts";

const PARTS: [name: string, command: string[]][] = [
  ["format", ["bun", "fmt", "--no-script", "--check"]],
  ["types", ["bun", "check", "--no-script"]],
  ["generated code", ["bun", "scripts/proto.ts", "--check"]],
  ["tests", ["bun", "scripts/test.ts"]],
];

await runScript("check", async () => {
  const argv = process.argv.slice(2);
  if (process.env.npm_config_user_agent?.startsWith("bun/")) {
    await runCommand(["bun", "check", "--no-script", ...argv]);
    return;
  }
  const failed: string[] = [];
  for (const [name, command] of PARTS) {
    if (name === "tests" && argv.includes("--no-tests")) continue;
    console.log(`check: ${name}`);
    await runCommand(command).catch((error: Error) => {
      console.error(error.message);
      failed.push(name);
    });
  }
  if (failed.length > 0) throw new Error(`not in order: ${failed.join(", ")}`);
  console.log("check: all in order");
});
