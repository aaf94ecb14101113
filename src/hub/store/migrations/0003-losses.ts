import type { Types } from "../column-types.ts";

/**
 * Loss records, beside the record itself: which numbers of a stream no rows stand behind, with what proves it. `counts`: JSON,
 * rows by class. `public_key`: of the agent's certificate, SPKI. `at`: the agent's trusted time; `received`: the hub's.
 */
export function losses(t: Types): string[] {
  return [
    `CREATE TABLE losses (
  stream ${t.big} NOT NULL,
  first ${t.big} NOT NULL,
  last ${t.big} NOT NULL,
  counts TEXT NOT NULL,
  prev_hash ${t.bytes} NOT NULL,
  hash ${t.bytes} NOT NULL,
  reason TEXT NOT NULL,
  at ${t.big} NOT NULL,
  signature ${t.bytes} NOT NULL,
  public_key ${t.bytes} NOT NULL,
  received ${t.big} NOT NULL,
  PRIMARY KEY (stream, first)
)${t.clustered}`,
  ];
}
