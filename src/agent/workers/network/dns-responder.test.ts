import { expect, test } from "bun:test";
import { systemClock } from "../../../core/clock.ts";
import { until } from "../../../testing/until.ts";
import { DNS_TYPE, parseQuestion } from "./dns-message.ts";
import { DnsResponder } from "./dns-responder.ts";
import { NameTable } from "./name-table.ts";

function query(name: string, type: number, { flags = 0x0100, cls = 1 } = {}): Buffer {
  const labels = name.split(".").flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)]);
  const header = Buffer.from([0x12, 0x34, flags >> 8, flags & 255, 0, 1, 0, 0, 0, 0, 0, 0]);
  return Buffer.concat([header, ...labels, Buffer.from([0, 0, type, 0, cls])]);
}

function rig() {
  const denied: string[] = [];
  const names = new NameTable();
  const responder = new DnsResponder({
    names,
    endpoints: [{ host: "*.example.org", port: 443 }],
    ownNames: new Set(["unix-1.holdfast.internal"]),
    clock: systemClock(),
    onDenied: (what) => denied.push(what),
  });
  return { responder, names, denied };
}

test("a name gets an address, the same each time and in every spelling", () => {
  const { responder, names, denied } = rig();
  const reply = responder.reply(query("Api.Example.ORG", DNS_TYPE.A))!;
  expect(reply.subarray(0, 8).toString("hex")).toBe("1234818000010001");
  expect(reply.includes(Buffer.from("Example"))).toBe(true);
  const address = [...reply.subarray(-4)].join(".");
  expect(names.nameOf(address)).toBe("api.example.org");
  expect(address).toStartWith("198.18.");
  expect(responder.reply(query("api.example.org", DNS_TYPE.A))!.subarray(-4)).toEqual(reply.subarray(-4));
  responder.close();
  expect(denied).toEqual([]);
});

test("other records are empty, and addresses have no names", () => {
  const { responder } = rig();
  for (const type of [DNS_TYPE.AAAA, 65, 33, 16]) {
    const reply = responder.reply(query("api.example.org", type))!;
    expect(reply.readUInt16BE(2) & 0xf).toBe(0);
    expect(reply.readUInt16BE(6)).toBe(0);
  }
  const reply = responder.reply(query("1.0.18.198.in-addr.arpa", DNS_TYPE.PTR))!;
  expect(reply.readUInt16BE(2) & 0xf).toBe(3);
  expect(responder.reply(query("api.example.org", DNS_TYPE.A, { cls: 3 }))!.readUInt16BE(6)).toBe(0);
  expect([...responder.reply(query("localhost", DNS_TYPE.A))!.subarray(-4)]).toEqual([127, 0, 0, 1]);
});

test("what nobody was granted is told once, with the port if a connect follows", async () => {
  const { responder, denied } = rig();
  responder.reply(query("evil.test", DNS_TYPE.A));
  responder.reply(query("evil.test", DNS_TYPE.AAAA));
  responder.reply(query("other.test", DNS_TYPE.A));
  responder.connected("other.test");
  responder.reply(query("unix-1.holdfast.internal", DNS_TYPE.A));
  await until("the name told", () => denied.length > 0);
  responder.reply(query("late.test", DNS_TYPE.A));
  responder.close();
  expect(denied).toEqual(["network evil.test", "network late.test"]);
});

test("rubbish gets no reply and does no harm", () => {
  const { responder } = rig();
  const good = query("api.example.org", DNS_TYPE.A);
  for (let length = 0; length < good.length; length++)
    expect(responder.reply(good.subarray(0, length))).toBeNull();
  expect(responder.reply(query("api.example.org", 1, { flags: 0x8180 }))).toBeNull();
  expect(responder.reply(query("api.example.org", 1, { flags: 0x2800 }))).toBeNull();
  const pointer = Buffer.concat([good.subarray(0, 12), Buffer.from([0xc0, 0x0c, 0, 1, 0, 1, 0])]);
  expect(parseQuestion(pointer)).toBeNull();
  for (let round = 0; round < 5000; round++) {
    const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(round % 64)));
    if (noise.length > 5) noise.set([0, 0, 1, 0, 0, 1].slice(0, 4), 2);
    responder.reply(noise);
  }
  responder.close();
});

test("the table is bounded: the name that was not asked for longest goes", () => {
  const names = new NameTable(3);
  const first = names.addressOf("a");
  const second = names.addressOf("b");
  names.addressOf("c");
  expect(names.addressOf("a")).toBe(first);
  const fourth = names.addressOf("d");
  expect(names.nameOf(second)).toBeUndefined();
  expect(names.nameOf(first)).toBe("a");
  expect(fourth).not.toBe(second);
  const many = new NameTable(2);
  for (let at = 0; at < 140_000; at++) many.addressOf(`n${at}`);
  expect(many.nameOf(many.addressOf("n139999"))).toBe("n139999");
});
