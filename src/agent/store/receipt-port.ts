import type { KeptReceipt, StreamCursor, StreamReceipt } from "../../model/record.ts";
import type { PackedCertificate, PackedReceipt } from "./receipt-rows.ts";

/** A certificate that vouches for a hub's receipt key, and the CA that issued it, DER. */
export interface KeptCertificate {
  hub: string;
  serial: string;
  certificate: Uint8Array;
  authority: Uint8Array;
}

/** What hubs have signed to hold. A receipt is kept by `AgentStore.acknowledge`, in the transaction of its ack. */
export interface ReceiptStore {
  /** The newest receipt of each stream, over epochs and hubs, in the order in which the streams were begun. */
  receipts(): Promise<KeptReceipt[]>;
  receiptCertificates(): Promise<KeptCertificate[]>;
  keepReceiptCertificates(certificates: KeptCertificate[]): Promise<void>;
}

export function packReceipt(cursor: StreamCursor, receipt: StreamReceipt): PackedReceipt {
  const { epoch, lane, segment, number } = cursor;
  const { hub, key, atMs } = receipt;
  const [hash, signature] = [hex(cursor.hash), hex(receipt.signature)];
  return { hub, epoch, lane, segment, number, hash, key, atMs, signature };
}

export function unpackReceipt(packed: PackedReceipt): KeptReceipt {
  const { hub, epoch, lane, segment, number, key, atMs } = packed;
  return {
    cursor: { epoch, lane, segment, number, hash: bytes(packed.hash) },
    receipt: { hub, key, atMs, signature: bytes(packed.signature) },
  };
}

export function packCertificate({ hub, serial, certificate, authority }: KeptCertificate): PackedCertificate {
  return { hub, serial, certificate: hex(certificate), authority: hex(authority) };
}

export function unpackCertificate(packed: PackedCertificate): KeptCertificate {
  const { hub, serial, certificate, authority } = packed;
  return { hub, serial, certificate: bytes(certificate), authority: bytes(authority) };
}

function hex(value: Uint8Array): string {
  return Buffer.from(value).toString("hex");
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "hex"));
}
