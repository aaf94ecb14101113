/** By how much more often code must have run before it is compiled, where memory counts for more than speed. */
export const HELD_BACK = 16;

/**
 * The executable starts with the compiler held back, which keeps an idle agent small (scripts/executable.ts). Whoever has
 * steady work calls this once; from source it changes nothing.
 */
export function compileHotCode(): void {
  Bun.unsafe.setJITPolicy(1);
}

/** The same for a thread: each starts with a policy of its own. */
export function holdBackCompiler(): void {
  if (Bun.isStandaloneExecutable) Bun.unsafe.setJITPolicy(HELD_BACK);
}
