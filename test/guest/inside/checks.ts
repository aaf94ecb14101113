/** A test runner of thirty lines: the guest has no node_modules, and what was found must survive a guest that dies. */
import { appendFileSync } from "node:fs";

/** The line of one check, which `run.ts` counts. */
export const RESULT = /^\((pass|fail)\) /;
/** What is shown of a guest that hangs, with what its kernel says. */
const CONSOLE = "/dev/console";
/** The last line: how many there were. */
export const CLOSING = /^(\d+) checks were made$/;

export class Checks {
  private made = 0;
  private failed = 0;

  constructor(
    private readonly guest: string,
    private readonly only: RegExp,
  ) {}

  /** Runs one check and says how it ended; what it throws is its failure. */
  async check(name: string, body: () => Promise<void> | void): Promise<void> {
    if (!this.only.test(name)) return;
    appendFileSync(CONSOLE, `checks: ${name}\n`);
    const started = performance.now();
    let problem: unknown;
    let ok = true;
    try {
      await body();
    } catch (error) {
      ok = false;
      problem = error;
      this.failed += 1;
    }
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    this.made += 1;
    console.log(`(${ok ? "pass" : "fail"}) ${this.guest} > ${name} [${seconds} s]`);
    if (!ok) console.log(indented(problem instanceof Error ? problem.message : String(problem)));
  }

  /** Says how many there were; gives the exit code. */
  close(): number {
    console.log(`${this.made} checks were made`);
    return this.failed === 0 ? 0 : 1;
  }
}

function indented(text: string): string {
  return text
    .trimEnd()
    .split("\n")
    .slice(-60)
    .map((line) => `    ${line}`)
    .join("\n");
}

/** Throws what was expected and what came, as JSON. */
export function expectSame(what: string, actual: unknown, expected: unknown): void {
  if (Bun.deepEquals(actual, expected)) return;
  throw new Error(`${what}\n  expected ${JSON.stringify(expected)}\n  found    ${JSON.stringify(actual)}`);
}

export function expectTrue(what: string, holds: boolean): void {
  if (!holds) throw new Error(`not so: ${what}`);
}
