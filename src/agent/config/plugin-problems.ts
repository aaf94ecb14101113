import type { JsonObject } from "../../model/json.ts";
import type { PluginKind } from "../../model/plugin.ts";
import type { InnerProblem, PluginChecks } from "./checks.ts";
import { list } from "./known-names.ts";
import { child, type ConfigNode, itemsOf, nodeAt, type Path, textOf, toJson } from "./node.ts";
import { pipelinesOf } from "./pipeline-steps.ts";
import { type Report, shorten } from "./report.ts";

interface Use {
  kind: PluginKind;
  /** Of the trigger, output or step. */
  path: Path;
  nameKey: "plugin" | "action";
  node: ConfigNode;
}

/** Names of plugins that nobody knows, and settings that the plugin would refuse. */
export async function checkPlugins(root: ConfigNode, plugins: PluginChecks, report: Report): Promise<void> {
  for (const use of usesOf(root)) {
    const name = textOf(child(use.node, use.nameKey));
    if (name === undefined) continue;
    const known = await plugins.known(use.kind);
    if (!known.includes(name)) {
      const message = await plugins.missing?.(use.kind, name);
      report.value(
        [...use.path, use.nameKey],
        message ?? `there is no ${use.kind} plugin ${JSON.stringify(name)}`,
        {
          ...(message === undefined
            ? {
                expected: known.length === 0 ? "an installed plugin; there is none" : `one of ${list(known)}`,
              }
            : {}),
          ...report.suggest(name, known),
        },
      );
      continue;
    }
    await checkSettings(root, use, name, plugins, report);
  }
}

function usesOf(root: ConfigNode): Use[] {
  const named = (section: string, kind: PluginKind): Use[] =>
    itemsOf(child(root, section)).map((node, index) => ({
      kind,
      path: [section, index],
      nameKey: "plugin",
      node,
    }));
  const steps = pipelinesOf(root).flatMap(({ steps }) =>
    steps.flatMap(({ node, path }): Use[] => {
      const undo = child(node, "undo");
      const own: Use = { kind: "action", path, nameKey: "action", node };
      return undo === undefined
        ? [own]
        : [own, { kind: "action", path: [...path, "undo"], nameKey: "action", node: undo }];
    }),
  );
  return [...named("triggers", "trigger"), ...named("outputs", "output"), ...steps];
}

async function checkSettings(
  root: ConfigNode,
  use: Use,
  name: string,
  plugins: PluginChecks,
  report: Report,
): Promise<void> {
  const node = child(use.node, "with");
  if (node !== undefined && node.kind !== "map") return;
  const settings = node === undefined ? {} : (toJson(node) as JsonObject);
  const before = report.problems.length;
  for (const problem of await plugins.settingsProblems(use.kind, name, settings)) {
    const path = [...use.path, "with", ...problem.path];
    // A template has its value only when the step starts.
    if (use.kind === "action" && textOf(nodeAt(root, path))?.includes("${{")) continue;
    // The plugin's words may quote the value.
    if (problem.actual !== undefined && report.hides(path)) {
      report.value(path, `the ${use.kind} ${name} does not accept this value`, { actual: "***" });
      continue;
    }
    reportInner(root, path, problem, report);
  }
  if (report.problems.length > before) return;
  for (const reason of (await plugins.refusals?.(use.kind, name, settings)) ?? []) {
    report.value([...use.path, use.nameKey], reason);
  }
}

function reportInner(root: ConfigNode, path: Path, problem: InnerProblem, report: Report): void {
  const known = problem.known ?? [];
  const expected = problem.expected ?? (known.length === 0 ? undefined : `one of ${list(known)}`);
  // A value that is wrong, or a name that nobody knows: either may be a slip.
  const word = problem.actual === undefined ? path.at(-1) : textOf(nodeAt(root, path));
  const details = {
    ...(expected === undefined ? {} : { expected }),
    ...(problem.actual === undefined ? {} : { actual: shown(root, path, problem.actual, report) }),
    ...(typeof word === "string" ? report.suggest(word, known) : {}),
  };
  if (problem.actual === undefined) report.key(path, problem.message, details);
  else report.value(path, problem.message, details);
}

/** Never what a variable held: the file's own words where there are any. */
function shown(root: ConfigNode, path: Path, actual: string, report: Report): string {
  return nodeAt(root, path) === undefined ? shorten(actual) : report.actual(path);
}
