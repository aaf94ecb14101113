import { readFileSync, statSync } from "node:fs";
import { VERSION } from "../core/version.ts";
import { type ConfigOrigin, type HashedText, hashedText, type WorkerFacts } from "../model/attempt-facts.ts";
import type { Config } from "../model/config.ts";
import { type Grant, summaryOf } from "../model/grant.ts";
import type { CatalogPlugin, PluginEntry } from "../model/plugin.ts";

/** Larger programs are told apart by size and time: to read one would hold the agent up. */
const MAX_HASHED = 4 * 1024 * 1024;
/** Plugins and grants whose hashes are kept in mind; one that was forgotten is worked out and stored once more. */
const MAX_KNOWN = 1000;

/** The configuration in force as runs go back to it, with the texts to keep for it. */
export function originOfConfig(config: Config): { hash: string; origin: ConfigOrigin; texts: HashedText[] } {
  const rules = config.rules.map((rule) => ({ name: rule.name, ...hashedText(rule) }));
  const origin: ConfigOrigin = {
    config: hashedText(config).hash,
    triggers: Object.fromEntries(config.triggers.map(({ name, plugin }) => [name, plugin])),
    rules: Object.fromEntries(rules.map(({ name, hash }) => [name, hash])),
  };
  const own = hashedText(origin);
  return { hash: own.hash, origin, texts: [own, ...rules.map(({ hash, text }) => ({ hash, text }))] };
}

/** What workers are, kept once each, and as a hash with each attempt. */
export class WorkerTexts {
  readonly #keep: (text: HashedText) => void;
  readonly #protections: () => WorkerFacts["protections"];
  readonly #known = new Map<string, string>();
  readonly #grants = new WeakMap<Grant, string>();
  readonly #versions = new Map<string, { stamp: string; version: string }>();

  /** `keep` is called with a text before the first attempt that goes back to it is stored. */
  constructor(keep: (text: HashedText) => void, protections: () => WorkerFacts["protections"]) {
    this.#keep = keep;
    this.#protections = protections;
  }

  of({ manifest, entry }: CatalogPlugin, grant: Grant): string {
    let granted = this.#grants.get(grant);
    if (granted === undefined) this.#grants.set(grant, (granted = JSON.stringify(summaryOf(grant))));
    const protections = this.#protections();
    const version = this.#versionOf(entry);
    const key = `${manifest.name}\0${version}\0${protections === null}\0${granted}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const facts: WorkerFacts = {
      plugin: manifest.name,
      version,
      granted: summaryOf(grant),
      protections,
    };
    const text = hashedText(facts);
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(key, text.hash);
    this.#keep(text);
    return text.hash;
  }

  /** Of the program as it lies there now: a script may be changed between two attempts. */
  #versionOf(entry: PluginEntry): string {
    if ("shipped" in entry) return `shipped with ${VERSION}`;
    const file = "file" in entry ? entry.file : entry.script.entry;
    try {
      const { size, mtimeMs, ino } = statSync(file);
      const stamp = `${size} ${mtimeMs} ${ino}`;
      const known = this.#versions.get(file);
      if (known?.stamp === stamp) return known.version;
      const version =
        size > MAX_HASHED
          ? `${size} bytes of ${new Date(mtimeMs).toISOString()}`
          : `sha256 ${new Bun.CryptoHasher("sha256").update(readFileSync(file)).digest("hex").slice(0, 12)}`;
      if (this.#versions.size >= MAX_KNOWN) this.#versions.clear();
      this.#versions.set(file, { stamp, version });
      return version;
    } catch {
      return "unknown: its file could not be read";
    }
  }
}
