/**
 * What runs and steps have had to say since pipelines have parts, items and children, as JSON; NULL for records of the
 * first versions. `runs.details`: starter, parent, retryOf. `steps.details`: part, waits, child, origin.
 */
export function runDetails(): string[] {
  return ["ALTER TABLE runs ADD COLUMN details TEXT", "ALTER TABLE steps ADD COLUMN details TEXT"];
}
