/**
 * What a verifier reads of a store, one item after the other (docs/sync.md, "Export"): a header, the certificates, then each
 * stream with its receipts, its rows in order and the rows held beside it, and last the end. Hashes are lower-case hex.
 */
export interface HeaderItem {
  kind: "header";
  format: typeof EXPORT_FORMAT;
  version: typeof EXPORT_VERSION;
  side: "agent" | "hub";
  /** Id of the agent; on a hub that of the one agent that was asked for. */
  agent: string | null;
  hub: string | null;
  /** Of the store that was read. */
  epoch: string;
  /** Unix ms by the clock of the host that made it. */
  madeMs: number;
}

export const EXPORT_FORMAT = "holdfast-chains";
export const EXPORT_VERSION = 1;

/** A CA that is trusted: on an agent the pinned one, on a hub its own. DER. */
export interface AuthorityItem {
  kind: "authority";
  certificate: Uint8Array;
}

/** Of a key that signs receipts. DER. */
export interface ReceiptCertificateItem {
  kind: "receipt-certificate";
  hub: string;
  certificate: Uint8Array;
}

export interface StreamName {
  agent: string;
  epoch: string;
  lane: number;
  segment: number;
}

export interface StreamItem extends StreamName {
  kind: "stream";
  firstLink: string;
  /** First link of the next segment, where that is here. */
  nextLink: string | null;
  /** Rows up to here are not here any more, though they were; `afterHash` is the hash of that row. */
  after: number;
  afterHash: string;
  last: number;
  lastHash: string;
  /** Of an agent: the hub has said to hold rows up to here. */
  acknowledged: number | null;
}

/** The hub's signature that it holds the stream up to `number`. */
export interface ReceiptItem extends StreamName {
  kind: "receipt";
  hub: string;
  number: number;
  hash: string;
  /** Serial of the certificate. */
  key: string;
  atMs: number;
  signature: Uint8Array;
}

export interface RowItem {
  kind: "row";
  number: number;
  class: number;
  hash: string;
  /** Null where the store has the row but not its body. */
  body: Uint8Array | null;
  /** Of a loss record that came to a hub: the key it was signed with, SPKI in DER. */
  publicKey?: Uint8Array;
}

/** A row that came under a number that another row has. */
export interface BesideItem {
  kind: "beside";
  number: number;
  class: number;
  hash: string;
  body: Uint8Array | null;
}

export interface EndItem {
  kind: "end";
  /** Lines before this one: a file that was cut short has none, or fewer. */
  lines: number;
}

export type ChainItem =
  HeaderItem | AuthorityItem | ReceiptCertificateItem | StreamItem | ReceiptItem | RowItem | BesideItem;
