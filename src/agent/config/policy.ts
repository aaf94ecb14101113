import { accessSync, constants, existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { systemCode } from "../../core/errors.ts";
import { type ConfigProblem, formatProblem } from "../../model/config-problem.ts";
import { DEFAULT_POLICY, type Policy, policySchema } from "../../model/policy.ts";
import type { AgentHome } from "./home.ts";
import { type ConfigNode, entriesOf, itemsOf, type Path, textOf } from "./node.ts";
import { parseYaml } from "./parse-yaml.ts";
import { readConfigText } from "./read-text.ts";
import { Report } from "./report.ts";
import { checkSchema } from "./schema-problems.ts";

/** Where packages put policies: `<id>/policy.yaml`, owned by root. */
export const POLICY_FOLDER = "/etc/holdfast";

const MAX_PROBLEMS = 200;

export interface LoadedPolicy {
  /** Null when the file has problems: then no plugin may start. Never the default in place of a file that is wrong. */
  policy: Policy | null;
  /** The file in force; null where there is none and the default holds. */
  path: string | null;
  problems: ConfigProblem[];
  /** Why no plugin may start, in one text; null when the policy is fine. */
  problem: string | null;
  /** This user could change the policy. */
  writable: boolean;
}

/** Candidates, the first that exists counts: the one of the packages, then the one in the home. */
export function policyFiles(home: AgentHome, packaged = POLICY_FOLDER): string[] {
  return [join(packaged, home.id, "policy.yaml"), home.policyFile];
}

/** Reads the first of the files that there is. Nothing is expanded in it but `${home}`. */
export async function loadPolicy(files: string[]): Promise<LoadedPolicy> {
  for (const file of files) {
    if (!(await isThere(file))) continue;
    const { policy, problems } = await readPolicy(file);
    return { policy, path: file, problems, problem: problemText(file, problems), writable: isWritable(file) };
  }
  const last = files.at(-1);
  const writable = last !== undefined && isWritable(last);
  return { policy: DEFAULT_POLICY, path: null, problems: [], problem: null, writable };
}

/** One line for status and doctor: where the policy is from, and whether the agent could change it. */
export function policyText({ path, problem, writable }: LoadedPolicy): string {
  const parts = [path === null ? "policy: none, every plugin gets what it asks for" : `policy: ${path}`];
  if (problem !== null) parts.push("it has problems and no plugin may start");
  if (writable) parts.push("writable by the agent");
  return parts.join("; ");
}

async function readPolicy(file: string): Promise<{ policy: Policy | null; problems: ConfigProblem[] }> {
  const failed = (...problems: ConfigProblem[]) => ({ policy: null, problems });
  const read = await readConfigText(file).catch((error: Error) => ({
    problem: { file, line: 0, column: 0, path: "", message: `cannot be read: ${error.message}` },
  }));
  if ("problem" in read) return failed(read.problem);
  const parsed = parseYaml(read.text, file, basename(file));
  if (parsed.root === null) return failed(...parsed.problems);
  const { root } = parsed;
  if (root.kind !== "map") {
    const { line, column } = root.origin;
    const expected = "keys like sandbox, plugins, host";
    return failed({ file, line, column, path: "", message: "the document is not a map", expected });
  }
  const report = new Report(root);
  const policy = checkSchema(policySchema, root, report);
  checkReferences(root, [], report);
  const problems = report.problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
  return problems.length === 0 ? { policy, problems } : failed(...problems.slice(0, MAX_PROBLEMS));
}

/** A policy knows no settings: what a plugin's reference stands for is compared with it, not written in it. */
function checkReferences(node: ConfigNode, path: Path, report: Report): void {
  if (textOf(node)?.replaceAll("${home}", "").includes("${")) {
    report.value(path, "a policy knows no variables", {
      expected: "the text itself, or a path with ${home}",
      actual: report.actual(path),
    });
  }
  for (const [key, value] of entriesOf(node)) checkReferences(value, [...path, key], report);
  for (const [index, item] of itemsOf(node).entries()) checkReferences(item, [...path, index], report);
}

function problemText(file: string, problems: ConfigProblem[]): string | null {
  if (problems.length === 0) return null;
  const lines = problems.map((problem) => `  ${formatProblem(problem)}`).join("\n");
  return `no plugin may start, because the policy ${file} has ${problems.length} problem${problems.length === 1 ? "" : "s"}:\n${lines}`;
}

/** What cannot be looked at is there: a policy out of reach must not become the default. */
async function isThere(file: string): Promise<boolean> {
  return await Bun.file(file)
    .stat()
    .then(
      () => true,
      (error: unknown) => systemCode(error) !== "ENOENT",
    );
}

/** The file may be changed, or replaced by another in its folder. */
function isWritable(file: string): boolean {
  for (let path = file; ; path = dirname(path)) {
    if (existsSync(path)) return canWrite(path) || (path === file && canWrite(dirname(path)));
    if (path === dirname(path)) return false;
  }
}

function canWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
