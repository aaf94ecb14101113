import { expect, test } from "bun:test";
import { bareGrant, type Grant } from "../../../model/grant.ts";
import { DEFAULT_RESOURCES } from "../../../model/permissions.ts";
import type { KernelFacts } from "../sandbox/kernel-facts.ts";
import { namespaceProxyPort, netPolicyOf, networkWay } from "./network-way.ts";

const grant = (part: Partial<Grant>): Grant => ({ ...bareGrant(DEFAULT_RESOURCES), ...part });
const kernel = (part: Partial<KernelFacts> = {}): KernelFacts => ({
  kernel: "6.12",
  arch: "x64",
  root: false,
  landlockAbi: 6,
  seccomp: true,
  mountNamespace: true,
  netNamespace: true,
  cgroup: { kind: "none", reason: "" },
  reasons: {},
  ...part,
});
const api = { host: "api.example.org", port: 443 };

test("the best way that the kernel allows", () => {
  const wishes = grant({ connect: [api] });
  expect(networkWay(wishes, kernel())).toBe("namespace");
  expect(networkWay(wishes, kernel({ netNamespace: false }))).toBe("proxy");
  expect(networkWay(wishes, kernel({ netNamespace: false, landlockAbi: 4 }))).toBe("proxy");
  expect(networkWay(wishes, kernel({ netNamespace: false, landlockAbi: 3 }))).toBe("sdk");
  expect(networkWay(wishes, kernel({ landlockAbi: 0 }))).toBe("namespace");
});

test("what wants nothing gets nothing, and so does what is not confined", () => {
  expect(networkWay(grant({}), kernel())).toBe("none");
  expect(networkWay(grant({ listen: [8080], icmp: true }), kernel())).toBe("none");
  expect(networkWay(grant({ connect: [api], sandbox: "off" }), kernel())).toBe("none");
});

test("a worker that others connect to, or that pings, stays in the host's network", () => {
  expect(networkWay(grant({ connect: [api], listen: [8080] }), kernel())).toBe("proxy");
  expect(networkWay(grant({ connect: [api], icmp: true }), kernel())).toBe("proxy");
  expect(networkWay(grant({ connect: [api], icmp: true }), kernel({ landlockAbi: 3 }))).toBe("sdk");
});

test("sockets of the namespace", () => {
  expect(netPolicyOf(grant({ connect: [api] }))).toEqual({ tcp: [80, 443], udp: [53] });
  expect(
    netPolicyOf(grant({ connect: [{ host: "db", port: 5432 }], udp: [{ host: "*", port: 123 }] })),
  ).toEqual({
    tcp: [80, 443, 5432],
    udp: [53, 123],
  });
  expect(namespaceProxyPort(grant({ connect: [api] }))).toBeNull();
  const all = grant({
    connect: [
      { host: "*", port: null },
      { host: "other-proxy", port: 3128 },
    ],
  });
  expect(namespaceProxyPort(all)).toBe(3129);
  expect(netPolicyOf(all).tcp).toEqual(expect.arrayContaining([80, 443, 3128, 3129]));
});
