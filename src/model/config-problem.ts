/** One thing wrong with a configuration file, with all that a person needs to mend it. */
export interface ConfigProblem {
  /** File as named by the caller, or `environment`. */
  file: string;
  /** 1-based; 0 when the problem has no place. */
  line: number;
  column: number;
  /** Where in the document: `rules[0].when`. */
  path: string;
  message: string;
  expected?: string;
  actual?: string;
  /** The nearest known name, for a name that is unknown. */
  suggestion?: string;
}

/** `agent.yaml:3:5: rules[0].run: …`, the form compilers use, so that editors can jump to it. */
export function formatProblem(problem: ConfigProblem): string {
  const place = problem.line > 0 ? `${problem.file}:${problem.line}:${problem.column}` : problem.file;
  const parts = [`${place}: ${problem.path === "" ? "" : `${problem.path}: `}${problem.message}`];
  if (problem.expected !== undefined) parts.push(`expected ${problem.expected}`);
  if (problem.actual !== undefined) parts.push(`found ${problem.actual}`);
  if (problem.suggestion !== undefined) parts.push(`did you mean "${problem.suggestion}"?`);
  return parts.join("; ");
}
