/** The little of DNS (RFC 1035) that a resolver in a worker needs: one question, at most one address in the answer. */
export const DNS_TYPE = { A: 1, PTR: 12, AAAA: 28, ANY: 255 } as const;

export interface DnsQuestion {
  id: number;
  /** Lower case, without the final dot. */
  name: string;
  type: number;
  internet: boolean;
  recursionDesired: boolean;
  /** The question as it was asked: its spelling is given back. */
  bytes: Buffer;
}

export type DnsAnswer =
  { kind: "address"; address: string; ttl: number } | { kind: "empty" } | { kind: "no such name" };

const HEADER_BYTES = 12;
const [QR, OPCODE, RD, RA] = [0x8000, 0x7800, 0x0100, 0x0080];
const NXDOMAIN = 3;
const IN = 1;
const QUESTION_NAME = 0xc00c;

/** Null for what is not a plain query with one question. */
export function parseQuestion(packet: Buffer): DnsQuestion | null {
  if (packet.length < HEADER_BYTES + 5) return null;
  const flags = packet.readUInt16BE(2);
  if ((flags & (QR | OPCODE)) !== 0 || packet.readUInt16BE(4) !== 1) return null;
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (;;) {
    const length = packet[at];
    if (length === undefined || length > 63 || at + 1 + length > packet.length) return null;
    at++;
    if (length === 0) break;
    labels.push(packet.toString("latin1", at, at + length));
    at += length;
    if (at - HEADER_BYTES > 255) return null;
  }
  if (at + 4 > packet.length) return null;
  return {
    id: packet.readUInt16BE(0),
    name: labels.join(".").toLowerCase(),
    type: packet.readUInt16BE(at),
    internet: packet.readUInt16BE(at + 2) === IN,
    recursionDesired: (flags & RD) !== 0,
    bytes: packet.subarray(HEADER_BYTES, at + 4),
  };
}

export function formatReply(question: DnsQuestion, answer: DnsAnswer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  const code = answer.kind === "no such name" ? NXDOMAIN : 0;
  header.writeUInt16BE(question.id, 0);
  header.writeUInt16BE(QR | RA | (question.recursionDesired ? RD : 0) | code, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(answer.kind === "address" ? 1 : 0, 6);
  return Buffer.concat([
    header,
    question.bytes,
    answer.kind === "address" ? addressRecord(answer) : Buffer.alloc(0),
  ]);
}

function addressRecord({ address, ttl }: { address: string; ttl: number }): Buffer {
  const record = Buffer.alloc(16);
  record.writeUInt16BE(QUESTION_NAME, 0);
  record.writeUInt16BE(DNS_TYPE.A, 2);
  record.writeUInt16BE(IN, 4);
  record.writeUInt32BE(ttl, 6);
  record.writeUInt16BE(4, 10);
  record.set(address.split(".").map(Number), 12);
  return record;
}
