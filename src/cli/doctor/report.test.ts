import { describe, expect, test } from "bun:test";
import type { Protection, Protections } from "../../model/protection.ts";
import { type DoctorReport, isWrong, reportLines } from "./report.ts";

const level = (value: Protection["level"]): Protection => ({
  level: value,
  reason: `it is ${value}`,
  ...(value === "enforced" ? {} : { fix: "a newer kernel" }),
  unprotected: value === "enforced" ? [] : ["some-attack"],
});
const protections = (limits: Protection["level"]): Protections => ({
  filesystem: level("enforced"),
  network: level("enforced"),
  "system calls": level("enforced"),
  limits: level(limits),
});
const report = (overrides: Partial<DoctorReport> = {}): DoctorReport => ({
  ok: true,
  version: "0.1.0",
  host: { hostname: "web", os: "Debian", kernel: "6.1", arch: "x64" },
  uid: 1000,
  agent: null,
  sandbox: "on",
  measured: { by: "doctor" },
  protections: protections("partial"),
  everyday: [],
  checks: [],
  ...overrides,
});

describe("what is wrong", () => {
  test.each([
    ["on", "missing", "ok", false],
    ["on", "enforced", "note", false],
    ["on", "enforced", "failed", true],
    ["strict", "enforced", "ok", false],
    ["strict", "partial", "ok", true],
    ["strict", "missing", "ok", true],
    ["off", "missing", "ok", false],
  ] as const)("sandbox %s, limits %s, a check %s: %p", (sandbox, limits, state, wrong) => {
    const checks = [{ name: "x", state, detail: "" }];
    expect(isWrong({ sandbox, protections: protections(limits), checks })).toBe(wrong);
  });
});

test("for people: every level with its reason, what to do and what is not stopped; the last line names all", () => {
  const lines = reportLines(
    report({
      sandbox: "strict",
      everyday: [{ commands: ["touch", "tar x"], reason: "no mount namespace" }],
      checks: [
        { name: "clock", state: "ok", detail: "fine\u001b[31m" },
        { name: "home", state: "failed", detail: "open to all", fix: "chmod o-w /x" },
      ],
    }),
    false,
  );
  expect(lines).toEqual([
    "holdfast 0.1.0 on web: Debian, Linux 6.1 x64, uid 1000",
    "no agent's home was looked at",
    "sandbox: strict; levels as measured now",
    "",
    "PROTECTION    LEVEL     REASON",
    "filesystem    enforced  it is enforced",
    "network       enforced  it is enforced",
    "system calls  enforced  it is enforced",
    "limits        partial   it is partial",
    "    to do: a newer kernel",
    "    not stopped: some-attack",
    "",
    "Scripts in workers cannot use touch, tar x: no mount namespace",
    "",
    "CHECK  STATE   FOUND",
    "clock  ok      fine",
    "home   failed  open to all",
    "    to do: chmod o-w /x",
    "",
    "filesystem enforced, network enforced, system calls enforced, limits partial; 1 check failed; sandbox: strict runs nothing here, for limits",
  ]);
});
