import type { JsonObject } from "../../model/json.ts";

/** Names of secrets, by the name of the setting that holds them. */
export type HeldSecrets = Record<string, string[]>;

/** The secrets as workers need them. */
export interface SecretPort {
  /** The input with the values of these names in their places. Throws `not_found`, or `failed` where a key is lost. */
  fill(input: JsonObject, names: string[], namespace: string): JsonObject;
  /** Which of an input's settings hold which secrets, before they are filled in. */
  held(input: JsonObject): HeldSecrets;
  /** One value. Throws as `fill` does. */
  open(namespace: string, name: string): string;
}

/** Takes out what was handed out. */
export interface Masking {
  mask(text: string): string;
  maskValue<T>(value: T): T;
}

export const NO_MASKING: Masking = { mask: (text) => text, maskValue: (value) => value };
