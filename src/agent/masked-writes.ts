import type { SecretMasker } from "../core/secret-masker.ts";

/** Writes of runs: what expressions have made of parameters (texts of approvals, items, what child runs are given) is in them. */
const WRITES = new Set<PropertyKey>(["startRuns", "changeRun", "dropDeadLetter", "commitEvents"]);

/** The same store, which is given nothing that was handed out as a secret. */
export function maskedWrites<Store extends object>(store: Store, masker: SecretMasker): Store {
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      if (!WRITES.has(name)) return member.bind(target) as unknown;
      return (...given: unknown[]): unknown => member.apply(target, masker.maskValue(given));
    },
  });
}
