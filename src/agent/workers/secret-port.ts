import type { JsonObject } from "../../model/json.ts";

/** The secrets as workers need them. */
export interface SecretPort {
  /** The input with the values of these names in their places. Throws `not_found`, or `failed` where a key is lost. */
  fill(input: JsonObject, names: string[], namespace: string): JsonObject;
  /** One value. Throws as `fill` does. */
  open(namespace: string, name: string): string;
}

/** Takes out what was handed out. */
export interface Masking {
  mask(text: string): string;
  maskValue<T>(value: T): T;
}

export const NO_MASKING: Masking = { mask: (text) => text, maskValue: (value) => value };
