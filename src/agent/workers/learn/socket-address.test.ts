import { expect, test } from "bun:test";
import { parseSocketAddress, type SocketAddress } from "./socket-address.ts";

const TABLE: [hex: string, address: SocketAddress][] = [
  ["020001bb" + "c6336407" + "00".repeat(8), { family: "internet", host: "198.51.100.7", port: 443 }],
  [
    "0a000050" + "00000000" + "20010db8" + "00".repeat(11) + "01" + "00000000",
    { family: "internet", host: "2001:db8::1", port: 80 },
  ],
  [
    "0a000050" + "00000000" + "00".repeat(10) + "ffff" + "7f000001" + "00000000",
    { family: "internet", host: "127.0.0.1", port: 80 },
  ],
  [`0100${Buffer.from("/run/x").toString("hex")}0000`, { family: "unix", path: "/run/x" }],
  [`0100${Buffer.from("/run/x").toString("hex")}`, { family: "unix", path: "/run/x" }],
  ["010000616263", { family: "unix", path: null }],
  ["0100", { family: "unix", path: null }],
  // Cut short, netlink, disconnecting, nothing.
  ["020001bb", { family: "other" }],
  ["0a000050" + "00".repeat(10), { family: "other" }],
  ["100000000000000000000000", { family: "other" }],
  ["0000" + "00".repeat(14), { family: "other" }],
  ["", { family: "other" }],
];

test.each(TABLE)("%s", (hex, address) =>
  expect(parseSocketAddress(Buffer.from(hex, "hex"))).toEqual(address),
);
