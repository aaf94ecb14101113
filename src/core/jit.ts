/**
 * The executable starts with the compiler held back, which keeps an idle agent small (scripts/executable.ts). Whoever has
 * steady work calls this once; from source it changes nothing.
 */
export function compileHotCode(): void {
  Bun.unsafe.setJITPolicy(1);
}
