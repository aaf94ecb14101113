import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HoldfastError } from "../core/errors.ts";
import type { JsonObject } from "../model/json.ts";
import { agentCommand } from "./agent-command.ts";
import { plainLine } from "./plain-text.ts";
import { completeArguments, readInput, repeated } from "./run-arguments.ts";

export const edit = agentCommand({
  name: "edit",
  description:
    "Change the parameters with which a dead letter is retried: by --set, from a file, or in $EDITOR",
  example: "holdfast dead edit 3f9a12bc --set unit=front",
  args: {
    run: {
      type: "positional",
      required: true,
      description: "Id of the run, or at least 4 characters of its end (or beginning)",
    },
    set: { type: "string", valueHint: "NAME=VALUE", description: "A parameter; may be given several times" },
    input: {
      type: "string",
      valueHint: "FILE",
      description: "All parameters from a YAML or JSON file; - is stdin",
    },
  },
  async run({ client, out, json, rawArgs, note }, args) {
    const letter = await client.deadLetter(args.run);
    const words = repeated(rawArgs, "set");
    const pipelines = await client.pipelines();
    // A pipeline that is no longer configured declares nothing that could be checked.
    const definitions = pipelines.find((each) => each.name === letter.pipeline)?.params ?? [];
    const base = await newBase(letter.params, args.input, words);
    if (base === null) return note("nothing was changed");
    const params = await completeArguments({
      what: `the dead letter of run ${letter.run} was not changed`,
      definitions,
      words,
      base,
    });
    const edited = await client.editDeadLetter(letter.run, params);
    if (json) return out.line(JSON.stringify(edited));
    await out.line(plainLine(`Run ${letter.run} is retried with ${JSON.stringify(edited.params)}.`));
  },
});

/** What the words of `--set` change; null when nothing is to be done. */
async function newBase(
  params: JsonObject,
  input: string | undefined,
  words: string[],
): Promise<JsonObject | null> {
  if (input !== undefined) return await readInput(input);
  if (words.length > 0) return params;
  const edited = await inEditor(params, process.env);
  return JSON.stringify(edited) === JSON.stringify(params) ? null : edited;
}

async function inEditor(params: JsonObject, env: Record<string, string | undefined>): Promise<JsonObject> {
  const editor = env.VISUAL || env.EDITOR;
  if (!editor) {
    throw new HoldfastError(
      "usage",
      "say what to change with --set NAME=VALUE or --input FILE, or set EDITOR",
    );
  }
  const folder = mkdtempSync(join(tmpdir(), "holdfast-edit-"));
  try {
    const file = join(folder, "parameters.json");
    writeFileSync(file, `${JSON.stringify(params, null, 2)}\n`, { mode: 0o600 });
    // As git does it: the variable may hold flags, so a shell splits it.
    const child = Bun.spawn(["sh", "-c", `${editor} "$1"`, "editor", file], {
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
    });
    const exit = await child.exited;
    if (exit !== 0) throw new HoldfastError("failed", `${editor} ended with ${exit}: nothing was changed`);
    return await readInput(file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
