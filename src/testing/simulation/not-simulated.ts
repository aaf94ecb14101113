/**
 * Writes of the store that the simulated agent never does, because rooms that do them are not in its world yet: schedules
 * and later runs, memory, parameters, secrets. Each is failed and killed in `agent/store/every-write.test.ts`, and their rooms
 * have property tests of their own under crashes.
 */
export const NOT_SIMULATED: ReadonlySet<string> = new Set([
  "checkpoints.forget",
  "checkpointsOf",
  "endLater",
  "later_runs.end",
  "later_runs.insert",
  "later_runs.trim",
  "memory.delete",
  "memory.put",
  "memory.sweep",
  "memoryCheckIn",
  "memoryCheckOut",
  "memoryDelete",
  "memoryFree",
  "memoryPut",
  "memorySweep",
  "memory_checkouts.delete",
  "memory_checkouts.free",
  "memory_checkouts.put",
  "parameters.delete",
  "parameters.put",
  "putSecrets",
  "removeParameter",
  "removeSecret",
  "secret_keys.drop",
  "secret_keys.put",
  "secrets.delete",
  "secrets.put",
  "setParameter",
]);
