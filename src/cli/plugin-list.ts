import { type ArgsDef, defineCommand } from "citty";
import { policyText } from "../agent/config/policy.ts";
import { findAgentHome, HOME_ARGS } from "./home-args.ts";
import { standardOutput } from "./output.ts";
import { plainLine, plainText } from "./plain-text.ts";
import { type PluginReport, pluginReports } from "./plugin-report.ts";
import { checkArguments } from "./strict-args.ts";
import { table } from "./table.ts";

const args = {
  ...HOME_ARGS,
  json: { type: "boolean", description: "Print JSON" },
} as const satisfies ArgsDef;

export const list = defineCommand({
  meta: {
    name: "list",
    description:
      "List the plugins of an agent, what they ask for, and whether the policy lets them run\n\nExample: holdfast plugin list --id web-01",
  },
  args,
  async run(context) {
    checkArguments(args, context.args);
    const reports = await pluginReports(findAgentHome(context.args));
    const { policy, plugins, unusable, configProblems } = reports;
    const out = standardOutput(process.env);
    if (context.args.json) {
      const { path, writable, problems } = policy;
      return await out.line(
        JSON.stringify({ policy: { file: path, writable, problems }, plugins, unusable }),
      );
    }
    const options = out.width === undefined ? { color: out.color } : { width: out.width, color: out.color };
    const lines = table(
      plugins,
      [
        { title: "NAME", value: (row) => row.name },
        { title: "KIND", value: (row) => row.kind },
        { title: "FROM", value: (row) => row.from, shrinkTo: 7 },
        { title: "ASKS FOR", value: (row) => Object.keys(row.asks.permissions).join(", "), shrinkTo: 8 },
        { title: "POLICY", value: (row) => row.policy.rule?.join(", ") ?? "no rule", shrinkTo: 7 },
        { title: "SANDBOX", value: (row) => row.policy.sandbox },
        {
          title: "GRANT",
          value: grantText,
          color: (text) =>
            text.startsWith("granted") ? "green" : text.startsWith("refused") ? "red" : undefined,
        },
      ],
      options,
    );
    for (const line of lines) await out.line(line);
    for (const { path, reason } of unusable) await out.line(plainLine(`not usable: ${path}: ${reason}`));
    if (configProblems > 0) {
      await out.line(
        `the configuration has ${configProblems} problems, which hide its uses: holdfast config validate`,
      );
    }
    for (const line of (policy.problem ?? policyText(policy)).split("\n")) await out.line(plainText(line));
  },
});

/** Whether it may run: by the policy, or in each of its uses. */
function grantText({ policy, grant, uses }: PluginReport): string {
  if (policy.ban !== null || grant?.state === "refused") return "refused";
  const refused = uses?.filter((use) => use.grant.state === "refused").length ?? 0;
  if (refused > 0) return `refused in ${refused} of ${uses!.length}`;
  if (grant !== null || (uses?.length ?? 0) > 0) return "granted";
  return "by its settings";
}
