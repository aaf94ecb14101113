/** Column types where databases differ. */
export interface Types {
  big: string;
  bytes: string;
  /** A number that a row gets when it gives none, as primary key. */
  identity: string;
  /** After a table whose rows lie in the order of their primary key. */
  clustered: string;
}

export const SQLITE_TYPES: Types = {
  big: "INTEGER",
  bytes: "BLOB",
  identity: "INTEGER PRIMARY KEY",
  clustered: " WITHOUT ROWID",
};
