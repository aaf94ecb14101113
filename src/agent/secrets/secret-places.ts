import type { Json, JsonObject } from "../../model/json.ts";

/**
 * What stands for a secret in the input of a step from the moment that its templates are filled in until its worker is told.
 * Nothing but this ever sees both: what lies between (grants, circuits, errors) handles the place. The nonce is this process's
 * own, so that no event can smuggle a place in.
 */
export class SecretPlaces {
  readonly #nonce: string;

  /** `nonce`: unguessable. */
  constructor(nonce: string) {
    this.#nonce = nonce;
  }

  /** Of a text that must not be told either; the masker knows it. */
  get mark(): string {
    return this.#nonce;
  }

  placeOf(name: string): string {
    return `{${this.#nonce}:${name}}`;
  }

  /** Names of the secrets whose places are in a setting, by the setting's name. */
  held(input: JsonObject): Record<string, string[]> {
    const held: Record<string, string[]> = {};
    for (const [key, value] of Object.entries(input)) {
      const pieces = JSON.stringify(value).split(`{${this.#nonce}:`).slice(1);
      if (pieces.length > 0) held[key] = pieces.map((piece) => piece.slice(0, piece.indexOf("}")));
    }
    return held;
  }

  /** A copy of the input with the values of these names in their places. `open` may throw. */
  fill(input: JsonObject, names: string[], open: (name: string) => string): JsonObject {
    const values = new Map<string, string>();
    const valueOf = (name: string) => {
      const known = values.get(name) ?? open(name);
      values.set(name, known);
      return known;
    };
    const filled = (text: string) => {
      if (!text.includes(this.#nonce)) return text;
      // Piece by piece: what a secret holds is not looked at again.
      return text.split(`{${this.#nonce}:`).reduce((before, piece) => {
        const end = piece.indexOf("}");
        const name = piece.slice(0, end);
        return names.includes(name) ? before + valueOf(name) + piece.slice(end + 1) : `${before}***${piece}`;
      });
    };
    const deep = (value: Json): Json => {
      if (typeof value === "string") return filled(value);
      if (value === null || typeof value !== "object") return value;
      if (Array.isArray(value)) return value.map(deep);
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [filled(key), deep(item)]));
    };
    return deep(input) as JsonObject;
  }
}
