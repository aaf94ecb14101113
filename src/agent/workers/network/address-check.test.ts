import { describe, expect, test } from "bun:test";
import { formatAddress, parseAddress } from "./address.ts";
import { type AddressClass, classOf, type Reach, refusalOf } from "./address-check.ts";

const address = (text: string) => parseAddress(text)!;

describe("texts", () => {
  const forms: [text: string, canonical: string][] = [
    ["127.0.0.1", "127.0.0.1"],
    ["127.1", "127.0.0.1"],
    ["127.0.1", "127.0.0.1"],
    ["2130706433", "127.0.0.1"],
    ["0x7f000001", "127.0.0.1"],
    ["0x7f.0.0.0x1", "127.0.0.1"],
    ["0177.0.0.01", "127.0.0.1"],
    ["017700000001", "127.0.0.1"],
    ["10.0.258", "10.0.1.2"],
    ["10.66051", "10.1.2.3"],
    ["0", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.255"],
    ["127.0.0.1.", "127.0.0.1"],
    ["[::1]", "::1"],
    ["::", "::"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["fe80::1%eth0", "fe80::1"],
    ["[fe80::1%25eth0]", "fe80::1"],
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["::ffff:127.0.0.1", "127.0.0.1"],
    ["::ffff:7f00:1", "127.0.0.1"],
    ["0:0:0:0:0:ffff:10.0.0.1", "10.0.0.1"],
    ["64:ff9b::127.0.0.1", "64:ff9b::7f00:1"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"],
  ];
  test.each(forms)("%s is %s", (text, canonical) => expect(formatAddress(address(text))).toBe(canonical));

  test.each([
    "",
    "example.org",
    "1.2.3.4.5",
    "256.1.1.1",
    "1.2.3.256",
    "1.2.65536",
    "4294967296",
    "08.1.1.1",
    "0x",
    "1..2",
    "-1",
    "1e3",
    ":::",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "12345::",
    "::1.2.3",
    "::1.2.3.4:5",
    "g::",
    "127.0.0.1 ",
  ])("%j is a name or nothing", (text) => expect(parseAddress(text)).toBeNull());
});

describe("classes", () => {
  const table: [AddressClass, string[]][] = [
    ["public", ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:2800::1", "64:ff9b::8.8.8.8"]],
    ["public", ["::ffff:8.8.8.8", "2002:0808:0808::1"]],
    ["unspecified", ["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "64:ff9b::", "2002::1"]],
    [
      "loopback",
      ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "::127.0.0.1"],
    ],
    ["loopback", ["2002:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe", "::ffff:0:127.0.0.1"]],
    ["loopback", ["2606:2800::5efe:127.0.0.1", "2606:2800::200:5efe:127.0.0.1"]],
    ["link-local", ["169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.1.1", "64:ff9b::a9fe:a9fe"]],
    ["link-local", ["2002:a9fe:a9fe::1", "fe80::1%lo"]],
    ["private", ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255"]],
    ["private", ["fc00::1", "fdff::1", "fec0::1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::"]],
    ["multicast", ["224.0.0.1", "239.255.255.250", "ff02::1"]],
    ["reserved", ["255.255.255.255", "240.0.0.1", "198.18.0.1", "198.19.255.255", "192.0.0.8", "4000::1"]],
    ["reserved", ["64:ff9b:1::7f00:1", "100::1"]],
  ];
  for (const [name, texts] of table) {
    test.each(texts)(`%s is ${name}`, (text) => expect(classOf(address(text))).toBe(name));
  }
});

describe("refusals", () => {
  const refusal = (text: string, reach: Reach, port = 443) =>
    refusalOf(address(text), {
      reach,
      port,
      own: [
        { host: "127.0.0.1", port: 9001 },
        { host: "0.0.0.0", port: 9002 },
        { host: "10.0.0.9", port: 9003 },
        { host: "localhost", port: 9004 },
        { host: "::", port: 9005 },
      ],
      local: [address("10.0.0.9"), address("2606:2800::9")],
    });

  const allowed: [Reach, string][] = [
    ["public", "1.1.1.1"],
    ["public", "2606:2800::1"],
    ["private", "10.0.0.1"],
    ["private", "fd00::1"],
    ["private", "1.1.1.1"],
    ["loopback", "127.0.0.1"],
    ["loopback", "::1"],
    ["exact", "127.0.0.1"],
    ["exact", "10.0.0.1"],
    ["exact", "169.254.169.254"],
  ];
  test.each(allowed)("%s reaches %s", (reach, text) => expect(refusal(text, reach)).toBeNull());

  const refused: [Reach, string, string][] = [
    ["public", "10.0.0.1", "private"],
    ["public", "fd00::1", "private"],
    ["public", "::ffff:192.168.0.1", "private"],
    ["public", "64:ff9b::10.0.0.1", "private"],
    ["public", "100.64.0.1", "private"],
    ["public", "127.0.0.1", "loopback"],
    ["private", "127.0.0.1", "loopback"],
    ["private", "::1", "loopback"],
    ["private", "64:ff9b::7f00:1", "loopback"],
    ["private", "169.254.169.254", "link-local"],
    ["private", "fe80::1%eth0", "link-local"],
    ["private", "0.0.0.0", "no address of a host"],
    ["private", "::", "no address of a host"],
    ["exact", "0.0.0.0", "no address of a host"],
    ["private", "224.0.0.1", "multicast"],
    ["exact", "255.255.255.255", "reserved"],
    ["private", "198.18.0.1", "reserved"],
    ["loopback", "10.0.0.1", "private"],
    ["loopback", "1.1.1.1", "public"],
  ];
  test.each(refused)("%s does not reach %s", (reach, text, why) =>
    expect(refusal(text, reach)).toContain(why),
  );

  const own: [string, number][] = [
    ["127.0.0.1", 9001],
    ["2002:7f00:1::", 9001],
    ["127.0.0.1", 9002],
    ["127.9.9.9", 9002],
    ["10.0.0.9", 9002],
    ["2606:2800::9", 9005],
    ["10.0.0.9", 9003],
    ["127.0.0.1", 9004],
    ["::1", 9004],
    ["::1", 9005],
  ];
  test.each(own)("the agent's own listener %s:%d is never reached", (text, port) =>
    expect(refusal(text, "exact", port)).toContain("the agent itself"),
  );
  test("another host's same port is no listener of ours", () => {
    expect(refusal("10.0.0.10", "exact", 9002)).toBeNull();
    expect(refusal("10.0.0.10", "exact", 9003)).toBeNull();
  });
});
