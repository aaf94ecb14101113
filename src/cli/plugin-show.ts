import { type ArgsDef, defineCommand } from "citty";
import { policyText } from "../agent/config/policy.ts";
import { HoldfastError } from "../core/errors.ts";
import { nearest } from "../core/nearest.ts";
import { findAgentHome, HOME_ARGS } from "./home-args.ts";
import { standardOutput } from "./output.ts";
import { plainLine } from "./plain-text.ts";
import { type GrantReport, type PluginReport, pluginReports, type PluginReports } from "./plugin-report.ts";
import { checkArguments } from "./strict-args.ts";

const args = {
  name: {
    type: "positional",
    required: true,
    description: "The plugin's name; all kinds of this name are shown",
  },
  ...HOME_ARGS,
  json: { type: "boolean", description: "Print JSON" },
} as const satisfies ArgsDef;

export const show = defineCommand({
  meta: {
    name: "show",
    description:
      "Show what a plugin asks for, and what it gets in each trigger, step and output, or why not\n\nExample: holdfast plugin show exec --id web-01",
  },
  args,
  async run(context) {
    checkArguments(args, context.args);
    const { name, json } = context.args;
    const reports = await pluginReports(findAgentHome(context.args));
    const found = reports.plugins.filter((plugin) => plugin.name === name);
    if (found.length === 0) throw missing(name, reports);
    const out = standardOutput(process.env);
    const { path, writable, problems } = reports.policy;
    if (json) {
      return await out.line(JSON.stringify({ policy: { file: path, writable, problems }, plugins: found }));
    }
    for (const [index, plugin] of found.entries()) {
      if (index > 0) await out.line("");
      for (const line of describe(plugin, reports)) await out.line(plainLine(line));
    }
  },
});

function missing(name: string, { plugins, unusable }: PluginReports): HoldfastError {
  const near = unusable.find(({ path }) =>
    path.split("/").some((part) => part.replace(/\.\w+$/, "") === name),
  );
  if (near !== undefined) {
    return new HoldfastError("invalid", `the plugin "${name}" (${near.path}) is not usable: ${near.reason}`);
  }
  const names = [...new Set(plugins.map((plugin) => plugin.name))];
  const meant = nearest(name, names);
  const hint = meant === undefined ? `there are ${names.join(", ")}` : `did you mean "${meant}"?`;
  return new HoldfastError("not_found", `there is no plugin "${name}": ${hint}`);
}

/** Lines of one plugin: what it asks for, the rule for it, and what each use of it gets. */
export function describe(plugin: PluginReport, { policy, configProblems }: PluginReports): string[] {
  const { asks, grant, uses } = plugin;
  const lines = [
    `${plugin.kind} ${plugin.name}: ${plugin.description}`,
    row("from", plugin.from),
    ...listed(
      "asks for",
      Object.entries(asks.permissions).map(([name, items]) => `${name} ${items.join(", ")}`),
    ),
    row("resources", pairs(asks.resources)),
    ...(policy.problem ?? policyText(policy)).split("\n"),
    row(
      "rule",
      plugin.policy.rule === null ? "none: it gets what it asks for" : `for ${plugin.policy.rule.join(", ")}`,
    ),
    row("sandbox", plugin.policy.sandbox ?? "nothing runs"),
  ];
  if (policy.problem !== null) return lines;
  if (plugin.policy.ban !== null) return [...lines, row("refused", plugin.policy.ban)];
  if (grant !== null) return [...lines, ...grantLines("grant", grant, asks.resources)];
  if (uses === null) {
    lines.push(
      `the configuration has ${configProblems} problems, which hide its uses: holdfast config validate`,
    );
  } else if (uses.length === 0)
    lines.push(row("used by", "nothing in this configuration; its settings decide"));
  for (const use of uses ?? []) lines.push(...grantLines(use.where, use.grant, asks.resources));
  return lines;
}

function grantLines(where: string, grant: GrantReport, asked: Record<string, string>): string[] {
  if (grant.state === "refused")
    return [`${where}: refused`, ...grant.reasons.map((reason) => `  ${reason}`)];
  const cut = Object.entries(grant.resources).filter(([name, value]) => asked[name] !== value);
  return [
    `${where}: granted`,
    ...Object.entries(grant.permissions).map(([name, items]) => `  ${name} ${items.join(", ")}`),
    ...(Object.keys(grant.permissions).length === 0 ? ["  nothing beyond its own folder"] : []),
    ...(cut.length === 0 ? [] : [`  resources ${pairs(Object.fromEntries(cut))} (by the policy)`]),
    ...grant.narrowed.map((text) => `  less than asked: ${text}`),
    ...grant.hidden.map((path) => `  covered: ${path}`),
    ...grant.create.map((path) => `  made first: ${path}`),
    ...(grant.sandbox === "off" ? ["  not enforced: the sandbox is off"] : []),
  ];
}

function pairs(values: Record<string, string>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
}

function listed(title: string, items: string[]): string[] {
  if (items.length === 0) return [row(title, "nothing beyond its own folder")];
  return items.map((item, index) => row(index === 0 ? title : "", item));
}

function row(title: string, text: string): string {
  return `${title.padEnd(10)}${text}`;
}
