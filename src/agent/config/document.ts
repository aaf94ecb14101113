import type * as v from "valibot";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { ConfigProblem } from "../../model/config-problem.ts";
import { parseYaml } from "./parse-yaml.ts";
import { readConfigText } from "./read-text.ts";
import { Report } from "./report.ts";
import { checkSchema } from "./schema-problems.ts";

/** `value` is there when there are no problems. */
export type DocumentResult<T> = { value: T; problems: [] } | { value: null; problems: ConfigProblem[] };

/**
 * One YAML file of its own (a script's manifest), checked as the configuration is: all problems at once, each with its
 * place and the nearest known name. Nothing is filled in from the environment. `more` says what a schema cannot.
 */
export async function readDocument<S extends v.GenericSchema>(
  schema: S,
  file: string,
  more?: (value: v.InferOutput<S>, report: Report) => void | Promise<void>,
): Promise<DocumentResult<v.InferOutput<S>>> {
  const read = await textOf(file);
  if ("problem" in read) return { value: null, problems: [read.problem] };
  const { root, problems } = parseYaml(read.text, file);
  if (root === null) return { value: null, problems };
  const report = new Report(root);
  const value = checkSchema(schema, root, report);
  if (value !== null) await more?.(value, report);
  if (value === null || report.problems.length > 0) return { value: null, problems: report.problems };
  return { value, problems: [] };
}

async function textOf(file: string) {
  try {
    return await readConfigText(file);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return { problem: { file, line: 0, column: 0, path: "", message: messageOf(error) } };
  }
}
