/** Version of this executable; the build replaces it with the package's version. */
export const VERSION: string = process.env.HOLDFAST_VERSION ?? "0.1.0-dev";

/** Git commit it was built from, `-dirty` behind it with changes on top; `unknown` from a source archive. */
export const COMMIT: string = process.env.HOLDFAST_COMMIT ?? "source";
