import type { FindingItem } from "./client/finding-schemas.ts";

const COLUMNS: [title: string, value: (finding: FindingItem) => string | number | null][] = [
  ["id", (finding) => finding.id],
  ["state", (finding) => finding.state],
  ["severity", (finding) => finding.severity],
  ["rule", (finding) => finding.rule],
  ["key", (finding) => finding.key],
  ["title", (finding) => finding.title],
  ["count", (finding) => finding.count],
  ["first_at", (finding) => finding.firstAt],
  ["last_at", (finding) => finding.lastAt],
  ["acknowledged_by", (finding) => finding.acknowledgedBy],
  ["acknowledged_at", (finding) => finding.acknowledgedAt],
  ["resolved_at", (finding) => finding.resolvedAt],
  ["resolution", (finding) => finding.resolution],
  ["resolved_by", (finding) => finding.resolvedBy],
  ["reason", (finding) => finding.reason],
  ["event_source", (finding) => finding.event?.source ?? null],
  ["event_id", (finding) => finding.event?.id ?? null],
  ["run", (finding) => finding.run],
  ["notes", (finding) => finding.notes.map(({ by, at, text }) => `${at} ${by}: ${text}`).join("\n")],
  ["data", (finding) => JSON.stringify(finding.data)],
];

export function csvHeader(): string {
  return COLUMNS.map(([title]) => title).join(",");
}

/** One record of RFC 4180, without its end of line. */
export function csvRow(finding: FindingItem): string {
  return COLUMNS.map(([, value]) => cell(value(finding))).join(",");
}

function cell(value: string | number | null): string {
  if (value === null) return "";
  const text = typeof value === "number" ? String(value) : harmless(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Spreadsheets compute what begins like a formula, also after blanks: an apostrophe makes it a text. */
function harmless(text: string): string {
  return /^\s*[=+\-@\t\r＝＋－＠]/u.test(text) || /^[\t\r\n]/.test(text) ? `'${text}` : text;
}
