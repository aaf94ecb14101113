const [AF_UNIX, AF_INET, AF_INET6] = [1, 2, 10];
/** `::ffff:0:0/96`: an IPv4 address in a socket of IPv6. */
const MAPPED = Buffer.from("00000000000000000000ffff", "hex");

export type SocketAddress =
  | { family: "internet"; host: string; port: number }
  /** Null is a name that is no path (abstract). */
  | { family: "unix"; path: string | null }
  | { family: "other" };

/** What a struct sockaddr says. */
export function parseSocketAddress(bytes: Buffer): SocketAddress {
  const family = bytes.length >= 2 ? bytes.readUInt16LE(0) : 0;
  if (family === AF_INET && bytes.length >= 8) {
    return { family: "internet", host: four(bytes.subarray(4, 8)), port: bytes.readUInt16BE(2) };
  }
  if (family === AF_INET6 && bytes.length >= 24) {
    return { family: "internet", host: six(bytes.subarray(8, 24)), port: bytes.readUInt16BE(2) };
  }
  if (family !== AF_UNIX) return { family: "other" };
  const name = bytes.subarray(2);
  if (name.length === 0 || name[0] === 0) return { family: "unix", path: null };
  const end = name.indexOf(0);
  return { family: "unix", path: name.toString("utf8", 0, end === -1 ? name.length : end) };
}

const four = (bytes: Buffer): string => [...bytes].join(".");

/** As URLs write it: lower case, the longest run of zeros left out. */
function six(bytes: Buffer): string {
  if (bytes.subarray(0, 12).equals(MAPPED)) return four(bytes.subarray(12));
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(at * 2).toString(16));
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}
