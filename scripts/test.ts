/**
 * `npm test [-- PATTERN…]`: every test, each file in a fresh process state. Failures show as they happen, a line of
 * progress every few seconds, then each file with its counts, and last `N passed, N failed[, N skipped]`.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./executable.ts";
import { commandEnvironment, runScript } from "./run-command.ts";
import { readJunit, type TestCounts } from "./junit.ts";

const PROGRESS_EVERY_MS = 10_000;
/** Bun's own default of 5 s is for an idle machine. */
const TEST_TIMEOUT_MS = 60_000;
/** Lines of a failed test that are told again at the end. */
const LINES_AGAIN = 60;

await runScript("test", () => main(process.argv.slice(2)));

async function main(argv: string[]): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-test-"));
  try {
    const report = join(folder, "junit.xml");
    const outcome = await runTests(argv, report);
    const files = (await Bun.file(report).exists()) ? readJunit(await Bun.file(report).text()) : [];
    return conclude(files, outcome);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Outcome {
  exitCode: number;
  /** As Bun counts them: also files that do not load or whose process crashed, which the report leaves out. */
  failed: number;
  /** What was printed of each test that failed, its file first. */
  failures: string[];
}

async function runTests(argv: string[], report: string): Promise<Outcome> {
  const verbose = argv.includes("--verbose");
  const child = Bun.spawn(
    [
      "bun",
      "test",
      "--parallel=2",
      `--timeout=${TEST_TIMEOUT_MS}`,
      "--reporter=junit",
      `--reporter-outfile=${report}`,
      ...argv.filter((part) => part !== "--verbose"),
    ],
    { cwd: ROOT, env: commandEnvironment(), stdin: "ignore", stdout: "inherit", stderr: "pipe" },
  );
  const shown = await showProgress(child.stderr, verbose);
  return { exitCode: await child.exited, ...shown };
}

/**
 * Passes on what is worth reading: everything but passed tests and the headers of files in which nothing else is said.
 * Gives the number of failures that Bun's summary names, and the failures themselves.
 */
async function showProgress(
  stream: ReadableStream<Uint8Array>,
  verbose: boolean,
): Promise<Pick<Outcome, "failed" | "failures">> {
  const failures: string[] = [];
  let file = "";
  let said: string[] = [];
  let summary = 0;
  let passed = 0;
  let failed = 0;
  let header = "";
  let shownAt = performance.now();
  for await (const line of linesOf(stream)) {
    if (line.startsWith("(pass)")) passed += 1;
    if (line.startsWith("(fail)")) failed += 1;
    summary = Math.max(summary, Number(line.match(/^ *(\d+) (?:fail|errors?)$/)?.[1] ?? 0));
    const isHeader = /^\S+\.test\.tsx?:$/.test(line);
    if (isHeader) file = line;
    else said.push(line);
    if (line.startsWith("(fail)")) failures.push([file, ...said.slice(-LINES_AGAIN)].join("\n"));
    if (isHeader || /^\((pass|fail|skip|todo)\)/.test(line)) said = [];
    if (performance.now() - shownAt > PROGRESS_EVERY_MS) {
      console.log(`… ${passed} passed, ${failed} failed so far (${header.replace(/:$/, "")})`);
      shownAt = performance.now();
    }
    if (verbose) console.log(line);
    else if (isHeader) header = line;
    else if (line !== "" && !line.startsWith("(pass)")) {
      if (header) console.log(header);
      header = "";
      console.log(line);
    }
  }
  return { failed: summary, failures };
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

/** Prints the counts; a run that Bun calls failed is never shown as passed (a file that does not load, a crash). */
function conclude(files: TestCounts[], outcome: Outcome): number {
  for (const file of files.toSorted((a, b) => a.file.localeCompare(b.file))) {
    const failed = file.failed > 0 ? `  ${file.failed} FAILED` : "";
    const skipped = file.skipped > 0 ? `  ${file.skipped} skipped` : "";
    console.log(`${file.file}  ${file.passed} passed${failed}${skipped}  (${file.seconds.toFixed(1)} s)`);
  }
  // Once more where nobody has to look for them.
  for (const failure of outcome.failures) console.log(`\nFAILED ${failure}`);
  const sum = (key: "passed" | "failed" | "skipped") => files.reduce((total, file) => total + file[key], 0);
  const passed = sum("passed");
  const skipped = sum("skipped");
  let failed = Math.max(sum("failed"), outcome.failed);
  if (outcome.exitCode !== 0 && failed === 0) {
    console.error(`bun test ended with code ${outcome.exitCode} outside any test: its output above says why`);
    failed = 1;
  }
  if (passed + failed === 0) {
    console.error("no test ran");
    failed = 1;
  }
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  return failed === 0 ? 0 : 1;
}
