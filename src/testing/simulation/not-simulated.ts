/**
 * Writes of the store that lives of the simulated agent are too short for: memory is swept once a minute. They are failed
 * and killed in `agent/store/every-write.test.ts`.
 */
export const NOT_SIMULATED: ReadonlySet<string> = new Set(["memory.sweep", "memorySweep"]);
