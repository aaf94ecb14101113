import { CountedKey, KeptValue } from "./kept-values.ts";
import type { SharedRooms } from "./shared-rooms.ts";

export const COUNTED = ["m0", "m1"];
/** A key that holders and people write over each other. */
export const CONTESTED = "g";
export const PLAIN = ["plain_a", "plain_b"];
export const HIDDEN = ["hidden_a"];
export const SECRETS = ["x", "y"];

/** What was written through the rooms that are shared, as their users were told of it, outside of what crashes take away. */
export class SharedLedger {
  readonly counted = new Map(COUNTED.map((key) => [key, new CountedKey()]));
  readonly parameters = new Map([...PLAIN, ...HIDDEN].map((name) => [name, new KeptValue()]));
  readonly secrets = new Map(SECRETS.map((name) => [name, new KeptValue()]));
  /** What holders were refused to write to the contested key. */
  readonly refused = new Set<string>();
  /** Later runs whose cancel was answered. */
  readonly cancelled = new Set<string>();
  readonly #fail: (invariant: string, what: string) => void;

  constructor(fail: (invariant: string, what: string) => void) {
    this.#fail = fail;
  }

  /** A life has begun: what it found must be what its predecessors answered for. */
  async opened(rooms: SharedRooms): Promise<void> {
    const problem = rooms.secrets.problem();
    if (problem !== null) this.#fail("secrets open", problem);
    for (const [name, kept] of this.secrets) {
      const wrong = kept.found(rooms.secrets.openExact("default", name));
      if (wrong !== null) this.#fail("secrets open", `secret ${name} ${wrong}`);
    }
    const found = rooms.parameters.json("default");
    for (const [name, kept] of this.parameters) {
      const wrong = kept.found((found[name] as string | undefined) ?? null);
      if (wrong !== null) this.#fail("answered is kept", `parameter ${name} ${wrong}`);
    }
    await this.looked(rooms);
  }

  async looked({ memory }: SharedRooms): Promise<void> {
    for (const [key, counted] of this.counted) {
      const value = ((await memory.get("default", key))?.value as number | undefined) ?? 0;
      const wrong = counted.problem(value);
      if (wrong !== null) this.#fail("increments are kept", `memory key ${key} ${wrong}`);
    }
    const contested = (await memory.get("default", CONTESTED))?.value;
    if (this.refused.has(contested as string))
      this.#fail("an expired holder writes nothing", `memory key ${CONTESTED} is ${contested as string}`);
  }
}
