import { PROTECTION_LEVELS, type Protections } from "../../src/model/protection.ts";
import { ATTACKS } from "./attacks/all.ts";
import type { SuiteRow } from "./suite.ts";

/** Where what happened and what `holdfast doctor` says of this host do not agree, and attacks that prove nothing. */
export function disagreements(rows: SuiteRow[], protections: Protections): string[] {
  const known = new Set(ATTACKS.map((attack) => attack.id));
  const problems: string[] = [];
  for (const { attack, language, off, detail } of rows) {
    if (off === "failed") problems.push(`${attack} (${language}) fails without a sandbox: ${detail}`);
  }
  for (const name of PROTECTION_LEVELS) {
    const { level, unprotected } = protections[name];
    for (const id of unprotected) {
      if (!known.has(id)) problems.push(`${name}: unprotected lists ${id}, which the suite does not know`);
    }
    if (level === "enforced" && unprotected.length > 0) {
      problems.push(`${name} is called enforced, with ${unprotected.join(", ")} unprotected`);
    }
    for (const row of rows.filter((item) => item.level === name && item.on === "escaped")) {
      const what = `${row.attack} (${row.language}) succeeds: ${row.detail}`;
      if (level === "enforced") problems.push(`${name} is called enforced, but ${what}`);
      else if (!unprotected.includes(row.attack))
        problems.push(`${name} does not list as unprotected: ${what}`);
    }
  }
  return problems;
}

/** What is listed as unprotected and was stopped all the same: too careful, which is no fault. */
export function stoppedAllTheSame(rows: SuiteRow[], protections: Protections): string[] {
  return PROTECTION_LEVELS.flatMap((name) => protections[name].unprotected).filter(
    (id) =>
      rows.some((row) => row.attack === id && row.off === "succeeded") &&
      !rows.some((row) => row.attack === id && row.on === "escaped"),
  );
}

/** One line a level, and one for each escape. */
export function table(rows: SuiteRow[]): string {
  return PROTECTION_LEVELS.map((level) => {
    const own = rows.filter((row) => row.level === level);
    const count = (test: (row: SuiteRow) => boolean) => own.filter(test).length;
    const escaped = own.filter((row) => row.on === "escaped");
    const head =
      `  ${level.padEnd(12)} ${String(count((row) => row.on === "stopped")).padStart(4)} stopped` +
      `${String(escaped.length).padStart(4)} escaped` +
      `${String(count((row) => row.off === "impossible")).padStart(4)} fail unconfined too` +
      `${String(count((row) => row.off === "not run")).padStart(4)} not tried`;
    return [
      head,
      ...escaped.map((row) => `    ${row.attack} (${row.language}): ${row.detail.slice(0, 120)}`),
    ].join("\n");
  }).join("\n");
}
