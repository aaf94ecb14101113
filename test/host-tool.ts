/**
 * Whether a program is on this host, for tests that need one (`test.skipIf(!hasTool("faketime"))`). In CI nothing is
 * skipped: .ci/run installs what tests need, so that a missing one is an error there.
 */
export function hasTool(name: string): boolean {
  const found = Bun.which(name) !== null;
  if (!found && process.env.CI)
    throw new Error(`${name} is not installed, but CI must run every test: see .ci/run`);
  return found;
}
