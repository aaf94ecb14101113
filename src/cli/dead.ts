import { type CommandDef, defineCommand } from "citty";
import { HoldfastError } from "../core/errors.ts";
import { type AgentContext, agentCommand } from "./agent-command.ts";
import type { AgentClient, DeadDetail, DeadItem } from "./client/agent-client.ts";
import { edit } from "./dead-edit.ts";
import { printList } from "./pages.ts";
import { plainText } from "./plain-text.ts";
import { confirmed } from "./run-confirm.ts";
import { errorText } from "./runs-detail.ts";
import { age, localTime, timeAndAge } from "./show-time.ts";
import { wholeNumber } from "./strict-args.ts";
import { stateColor, table, type TableOptions } from "./table.ts";

export const LETTER_ARG = {
  type: "positional",
  required: true,
  description: "Id of the run, or at least 4 characters of its end (or beginning)",
} as const;

const list = agentCommand({
  name: "list",
  description: "List dead letters: runs that ended badly and wait for somebody to edit, retry or drop them",
  example: "holdfast dead list",
  args: {
    limit: { type: "string", valueHint: "N", default: "50", description: "At most so many" },
    all: { type: "boolean", description: "All that there are" },
  },
  async run(context, args) {
    const { client, clock, out } = context;
    const nowMs = clock.wall();
    const shownId = (row: DeadItem) => (out.width === undefined ? row.run : row.run.slice(-12));
    await printList<DeadItem>(context, {
      fetch: (query) => client.deadLetters(query),
      filter: {},
      limit: args.all ? undefined : wholeNumber("limit", args.limit, 1, 1_000_000),
      none: "no dead letters",
      render: (items, header) =>
        table(
          items,
          [
            { title: "RUN", value: shownId },
            { title: "AGE", value: (row) => age(row.createdAt, nowMs) },
            { title: "PIPELINE", value: (row) => row.pipeline },
            { title: "RULE", value: (row) => row.rule, shrinkTo: 10 },
            { title: "STATE", value: (row) => row.state, color: stateColor },
            { title: "ERRORS", value: (row) => row.errorCount },
            { title: "REASON", value: (row) => row.reason, shrinkTo: 16 },
          ],
          { width: out.width, color: out.color, header },
        ),
    });
  },
});

const show = agentCommand({
  name: "show",
  description: "Show a dead letter: its parameters and every error of every attempt",
  example: "holdfast dead show 3f9a12bc",
  args: { run: LETTER_ARG },
  async run({ client, clock, out, json }, args) {
    const letter = await client.deadLetter(args.run);
    if (json) return out.line(JSON.stringify(letter));
    for (const line of describe(letter, clock.wall(), out)) await out.line(line);
  },
});

function describe(letter: DeadDetail, nowMs: number, { width, color }: TableOptions): string[] {
  const rows: [string, string][] = [
    ["Run", letter.run],
    ["Pipeline", letter.pipeline],
    ["Rule", letter.rule ?? "-"],
    ["State", letter.state],
    ["Reason", letter.reason],
    ["Set aside", timeAndAge(letter.createdAt, nowMs)],
  ];
  const facts = table(
    rows,
    [
      { title: "", value: ([name]) => name },
      { title: "", value: ([, value]) => value, color: stateColor },
    ],
    { color, header: false },
  );
  const errors = table(
    letter.errors,
    [
      { title: "TIME", value: (row) => localTime(row.at) },
      { title: "STEP", value: (row) => row.step },
      { title: "ATTEMPT", value: (row) => row.attempt },
      { title: "ERROR", value: (row) => errorText(row.error), shrinkTo: 20 },
    ],
    { width, color },
  );
  const params = plainText(JSON.stringify(letter.params, null, 2)).split("\n");
  return [
    ...facts,
    ...["", "Parameters of the next try", ...params.map((line) => `  ${line}`)],
    ...(letter.errors.length > 0 ? ["", "Errors", ...errors] : []),
  ];
}

/** `retry` and `drop`: one letter, or with `--all` all there are, which asks first. */
function change(
  name: "retry" | "drop",
  description: string,
  act: (client: AgentClient, run: string) => Promise<{ run: string; text: string }>,
) {
  return agentCommand({
    name,
    description,
    example: `holdfast dead ${name} 3f9a12bc${name === "drop" ? " --yes" : ""}`,
    args: {
      run: { ...LETTER_ARG, required: false },
      all: { type: "boolean", description: "All dead letters" },
      yes: { type: "boolean", description: "Do not ask" },
    },
    async run(context, args) {
      const { client, out, json } = context;
      if ((args.run === undefined) === (args.all !== true)) {
        throw new HoldfastError(
          "usage",
          `name one dead letter, or all of them with --all: see holdfast dead ${name} --help`,
        );
      }
      const runs = args.all ? await everyLetter(client) : [(await client.deadLetter(args.run!)).run];
      const asks = name === "drop" || args.all === true;
      if (runs.length > 0 && asks && !(await confirmed(question(name, runs), args.yes === true, name)))
        return;
      const results: { run: string; text: string }[] = [];
      for (const run of runs) results.push(await act(client, run));
      if (json) return out.line(JSON.stringify({ runs: results.map((result) => result.run) }));
      await say(context, results);
    },
  });
}

async function say({ out, note }: AgentContext, results: { text: string }[]): Promise<void> {
  if (results.length === 0) note("no dead letters");
  for (const { text } of results) await out.line(text);
}

function question(name: string, runs: string[]): string {
  const what = runs.length === 1 ? `the dead letter of run ${runs[0]}` : `${runs.length} dead letters`;
  return name === "drop" ? `Drop ${what} for good?` : `Start ${what} again?`;
}

async function everyLetter(client: AgentClient): Promise<string[]> {
  const runs: string[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await client.deadLetters({ cursor, limit: 1000 });
    runs.push(...page.items.map((item) => item.run));
    if (page.next === null) return runs;
    cursor = page.next;
  }
}

const retry = change(
  "retry",
  "Start the run again with the letter's parameters; the letter is gone then",
  async (client, letter) => {
    const run = await client.retryDeadLetter(letter);
    return { run, text: `Run ${run} repeats run ${letter}.` };
  },
);

const drop = change(
  "drop",
  "Drop a dead letter for good; the run stays in the history",
  async (client, letter) => ({
    run: await client.dropDeadLetter(letter),
    text: `The dead letter of run ${letter} is dropped.`,
  }),
);

export const dead: CommandDef<any> = defineCommand({
  meta: {
    name: "dead",
    description: "Runs that ended badly, set aside by the agent on this host\n\nExample: holdfast dead list",
  },
  subCommands: { list, show, edit, retry, drop },
});
