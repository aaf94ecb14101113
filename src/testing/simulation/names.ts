/** A trigger whose events bring their own ids, and some of which come again. */
export const REPEATING = "lines";
/** A trigger that relies on its checkpoint only. */
export const COUNTING = "ticks";
export const TRIGGERS = [REPEATING, COUNTING];
export const TYPES = ["a", "b", "c"];
export const KEYS = ["k0", "k1", "k2"];
export const AGENT_ID = "sim-01";
