import { agentCommand } from "./agent-command.ts";

export const FINDING_ARG = {
  type: "positional",
  required: true,
  description: "Its id, or at least 4 characters of its end (or beginning)",
} as const;

export const acknowledge = agentCommand({
  name: "acknowledge",
  description: "Say that somebody looks after a finding",
  example: "holdfast finding acknowledge 3f9a12bc",
  args: { finding: FINDING_ARG },
  async run({ client, out, json }, args) {
    const finding = await client.changeFinding(args.finding, "acknowledge", {});
    await out.line(json ? JSON.stringify(finding) : `Finding ${finding.id} is acknowledged.`);
  },
});

export const note = agentCommand({
  name: "note",
  description: "Add a note to a finding",
  example: "holdfast finding note 3f9a12bc 'ordered a larger disk'",
  args: {
    finding: FINDING_ARG,
    text: { type: "positional", required: true, description: "At most 2000 characters" },
  },
  async run({ client, out, json }, args) {
    const finding = await client.changeFinding(args.finding, "note", { text: args.text });
    await out.line(json ? JSON.stringify(finding) : `The note is kept with finding ${finding.id}.`);
  },
});

export const resolve = agentCommand({
  name: "resolve",
  description: "Say that a finding is over; raised again it is a new one",
  example: "holdfast finding resolve 3f9a12bc --reason 'the disk was replaced'",
  args: {
    finding: FINDING_ARG,
    "false-positive": { type: "boolean", description: "It never was true" },
    reason: { type: "string", valueHint: "TEXT", description: "Why, at most 2000 characters" },
  },
  async run({ client, out, json }, args) {
    const falsePositive = args["false-positive"] === true;
    const finding = await client.changeFinding(args.finding, "resolve", {
      falsePositive,
      reason: args.reason,
    });
    const how = falsePositive ? "resolved as a false positive" : "resolved";
    await out.line(json ? JSON.stringify(finding) : `Finding ${finding.id} is ${how}.`);
  },
});
