import { describe, expect, test } from "bun:test";
import { authorize, entryProblem, matchesGlob } from "./authorize.ts";
import { readOperation } from "./verbs.ts";

const SIGNAL = { signal: "HUP" };

function allowed(operation: string, granted: string[], policy: string[]): boolean {
  const given = operation.startsWith("signal") ? SIGNAL : {};
  return authorize(readOperation(operation, given), granted, policy).allowed;
}

describe("both the grant and the policy must have it", () => {
  const table: [operation: string, granted: string[], policy: string[], allowed: boolean][] = [
    ["systemd.restart:nginx.service", ["systemd.restart:nginx.service"], ["systemd.restart:*"], true],
    ["systemd.restart:nginx", ["systemd.restart:nginx"], ["systemd.restart:nginx.service"], true],
    ["systemd.restart:nginx.service", ["systemd.restart:nginx"], ["systemd.restart:nginx"], true],
    ["systemd.restart:nginx-2", ["systemd.restart:nginx*"], ["systemd.restart:*.service"], true],
    ["systemd.restart:nginx.service", [], ["systemd.restart:*"], false],
    ["systemd.restart:nginx.service", ["systemd.restart:nginx.service"], [], false],
    ["systemd.restart:sshd.service", ["systemd.restart:nginx.service"], ["systemd.restart:*"], false],
    ["systemd.stop:nginx.service", ["systemd.restart:*"], ["systemd.restart:*", "systemd.stop:*"], false],
    ["systemd.restart:nginx.socket", ["systemd.restart:nginx"], ["systemd.restart:*"], false],
    ["systemd.restart:nginx", ["systemd.restart"], ["systemd.restart:*"], false],
    ["journal.read:nginx", ["journal.read"], ["journal.read"], true],
    ["journal.read", ["journal.read:nginx.service"], ["journal.read"], false],
    ["journal.read", ["journal.read:*"], ["journal.read"], false],
    ["reboot", ["reboot"], ["reboot"], true],
    ["reboot", ["*"], ["*"], false],
    ["packages.upgrade:curl", ["packages.upgrade:cu*"], ["packages.upgrade"], true],
    ["signal:nginx", ["signal:nginx"], ["signal:*"], true],
  ];
  test.each(table)("%s, granted %j, policy %j: %p", (operation, granted, policy, expected) => {
    expect(allowed(operation, granted, policy)).toBe(expected);
  });

  test("the reason names the operation and who would have to change", () => {
    const sshd = readOperation("systemd.restart:sshd");
    const policy = authorize(sshd, ["systemd.restart:*"], []);
    expect(policy).toEqual({
      allowed: false,
      reason:
        "denied: host systemd.restart:sshd.service: the policy of this host does not allow it (host.operations)",
    });
    const grant = authorize(sshd, [], ["systemd.restart:*"]);
    expect(grant).toMatchObject({ reason: expect.stringContaining("was not granted it") });
  });
});

test("a star is any text, and many of them cost no time", () => {
  expect(matchesGlob("*", "")).toBe(true);
  expect(matchesGlob("a*b*c", "a--b--b-c")).toBe(true);
  expect(matchesGlob("a*b*c", "a--b--b-")).toBe(false);
  expect(matchesGlob("a.c", "abc")).toBe(false);
  expect(matchesGlob("nginx", "nginx2")).toBe(false);
  const started = performance.now();
  expect(matchesGlob("*a".repeat(128), `${"a".repeat(255)}b`)).toBe(false);
  expect(performance.now() - started).toBeLessThan(50);
});

test("what is wrong with an entry", () => {
  const fine = ["systemd.restart:*", "systemd.restart:nginx*", "journal.read", "reboot", "signal:nginx"];
  for (const entry of fine) expect(entryProblem(entry)).toBeNull();
  expect(entryProblem("systemd.restrat:a")).toContain("did you mean systemd.restart?");
  expect(entryProblem("systemd.restart")).toContain("systemd.restart:* for every one");
  expect(entryProblem("reboot:now")).toContain("takes no object");
  expect(entryProblem("systemd.restart:a b")).toContain("is not the name of a systemd unit");
  expect(entryProblem("*")).toContain("no host operation");
});
