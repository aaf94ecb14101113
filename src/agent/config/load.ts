import { readdir } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { HoldfastError, messageOf, systemCode } from "../../core/errors.ts";
import { type ConfigProblem, formatProblem } from "../../model/config-problem.ts";
import { type Config, configSchema } from "../../model/config.ts";
import type { ConfigChecks } from "./checks.ts";
import { type Environment, expandVariables } from "./expand.ts";
import { mergeLayer } from "./merge.ts";
import { type ConfigNode, emptyMap, type MapNode, type Origin } from "./node.ts";
import { applyOverrides, environmentOverrides, flagOverrides } from "./overrides.ts";
import { parseYaml } from "./parse-yaml.ts";
import { checkPlugins } from "./plugin-problems.ts";
import { readConfigText } from "./read-text.ts";
import { Report } from "./report.ts";
import { checkSchema } from "./schema-problems.ts";
import { viewOf } from "./schema-walk.ts";
import { checkMeaning } from "./semantic-problems.ts";
import { type LeafSource, sourcesOf } from "./sources.ts";

const MAX_FILES = 200;
const MAX_PROBLEMS = 200;

export interface LoadOptions {
  /** `config/agent.yaml`. When it is missing, defaults hold, unless it is `required`. */
  configFile: string;
  required?: boolean;
  /** Folder whose `*.yaml` merge over the file in the order of their names; may be missing. */
  confDir?: string;
  /** For `${VAR}`; also for `HOLDFAST__…` unless `overrides` is false. */
  env: Environment;
  overrides?: boolean;
  /** Values by key: `{ id: "web-01", "health.listen": "127.0.0.1:0", "log.level": "debug" }`. */
  flags?: Record<string, string | undefined>;
  checks: ConfigChecks;
}

export interface LoadedConfig {
  /** Null when there are problems. */
  config: Config | null;
  problems: ConfigProblem[];
  /** Where each leaf of `config` comes from, by its path (`rules[0].when`). */
  sources: Map<string, LeafSource>;
  /** Files that were read, lowest first. */
  files: string[];
}

/**
 * Reads, merges and checks a configuration: flag over environment over files over defaults. All problems come back at
 * once, each with its place. Throws only `not_found` for a required file.
 */
export async function loadConfig(options: LoadOptions): Promise<LoadedConfig> {
  const schema = viewOf(configSchema);
  const problems: ConfigProblem[] = [];
  const files = await listFiles(options, problems);
  let root: MapNode = emptyMap(startOf(options.configFile));
  for (const file of files) {
    const layer = await readLayer(file, options, problems);
    if (layer === null) continue;
    const merged = mergeLayer(root, layer);
    root = merged.root;
    problems.push(...merged.problems);
  }
  // With a part missing, checking the rest would only report its absence.
  if (problems.length > 0) return { config: null, problems: bound(problems), sources: new Map(), files };

  const overrides = [
    ...(options.overrides === false ? [] : environmentOverrides(options.env)),
    ...flagOverrides(options.flags ?? {}),
  ];
  const overridden = applyOverrides(root, schema, overrides);
  const report = new Report(overridden.root);
  report.problems.push(...overridden.problems);
  const config = checkSchema(configSchema, overridden.root, report);
  await checkMeaning(overridden.root, options.checks.expressions, report);
  if (options.checks.plugins) await checkPlugins(overridden.root, options.checks.plugins, report);
  const all = inOrder(report.problems, files);
  return {
    config: all.length === 0 ? config : null,
    problems: bound(all),
    sources: config === null ? new Map() : sourcesOf(config, overridden.root),
    files,
  };
}

/** The configuration, or `invalid` with every problem, one a line. */
export function requireConfig(loaded: LoadedConfig): Config {
  if (loaded.config !== null) return loaded.config;
  const count = loaded.problems.length;
  const lines = loaded.problems.map((problem) => `  ${formatProblem(problem)}`).join("\n");
  throw new HoldfastError(
    "invalid",
    `the configuration has ${count} problem${count === 1 ? "" : "s"}:\n${lines}`,
  );
}

async function listFiles(options: LoadOptions, problems: ConfigProblem[]): Promise<string[]> {
  const { configFile, confDir } = options;
  const found = options.required || (await exists(configFile)) ? [configFile] : [];
  if (confDir === undefined) return found;
  const names = await listFolder(confDir, problems);
  for (const name of names.filter((each) => each.endsWith(".yml"))) {
    problems.push(plain(join(confDir, name), "only *.yaml is read here: rename the file, or move it away"));
  }
  const layers = names.filter((name) => name.endsWith(".yaml"));
  if (layers.length > MAX_FILES) {
    problems.push(plain(confDir, `${layers.length} files are too many: at most ${MAX_FILES}`));
    return found;
  }
  return [...found, ...layers.map((name) => join(confDir, name))];
}

async function exists(file: string): Promise<boolean> {
  return await Bun.file(file)
    .stat()
    .then(
      () => true,
      (error: unknown) => systemCode(error) !== "ENOENT",
    );
}

/** Names in the folder in the order of their characters, without the hidden files that editors leave. */
async function listFolder(folder: string, problems: ConfigProblem[]): Promise<string[]> {
  try {
    const names = await readdir(folder);
    return names.filter((name) => !name.startsWith(".")).sort();
  } catch (error) {
    if (systemCode(error) !== "ENOENT") problems.push(plain(folder, `cannot be read: ${messageOf(error)}`));
    return [];
  }
}

/** One file as nodes with its variables expanded, or null when it is no configuration. */
async function readLayer(
  file: string,
  options: LoadOptions,
  problems: ConfigProblem[],
): Promise<MapNode | null> {
  const read = await readConfigText(file);
  if ("problem" in read) {
    problems.push(read.problem);
    return null;
  }
  const parsed = parseYaml(read.text, file, labelOf(file, options));
  problems.push(...parsed.problems);
  if (parsed.root === null) return null;
  const expanded = expandVariables(parsed.root, viewOf(configSchema), options.env);
  problems.push(...expanded.problems);
  return requireMap(expanded.root, problems);
}

function requireMap(root: ConfigNode, problems: ConfigProblem[]): MapNode | null {
  if (root.kind === "map") return root;
  const { file, line, column } = root.origin;
  problems.push({
    file,
    line,
    column,
    path: "",
    message: "the document is not a map",
    expected: "keys like agent, triggers, rules, pipelines",
    actual: root.kind === "list" ? "a list" : "a single value",
  });
  return null;
}

function labelOf(file: string, options: LoadOptions): string {
  return options.confDir === undefined ? basename(file) : relative(dirname(options.configFile), file);
}

function startOf(file: string): Origin {
  return { file, line: 1, column: 1, source: basename(file) };
}

function plain(file: string, message: string): ConfigProblem {
  return { file, line: 0, column: 0, path: "", message };
}

/** By file, line and column, so that a person can go through the file once. */
function inOrder(problems: ConfigProblem[], files: string[]): ConfigProblem[] {
  // What belongs to no file (variables, flags) comes last.
  const rank = ({ file }: ConfigProblem) => (files.includes(file) ? files.indexOf(file) : files.length);
  return problems.toSorted((a, b) => rank(a) - rank(b) || a.line - b.line || a.column - b.column);
}

function bound(problems: ConfigProblem[]): ConfigProblem[] {
  if (problems.length <= MAX_PROBLEMS) return problems;
  const rest = problems.length - MAX_PROBLEMS;
  return [...problems.slice(0, MAX_PROBLEMS), plain(problems.at(-1)!.file, `and ${rest} more problems`)];
}
