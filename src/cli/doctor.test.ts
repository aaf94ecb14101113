/** `holdfast doctor` as a person calls it. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { agentHome, prepareHome } from "../agent/config/home.ts";
import { PROTECTION_LEVELS } from "../model/protection.ts";
import type { DoctorReport } from "./doctor/report.ts";

const MAIN = join(import.meta.dir, "..", "main.ts");
const IS_ROOT = process.getuid?.() === 0;

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "holdfast-doctor-cli-"));
  chmodSync(base, 0o755);
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

async function holdfast(args: string[], before: string[] = []) {
  const child = Bun.spawn([...before, process.execPath, "--no-install", MAIN, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { PATH: process.env.PATH ?? "", HOME: base, XDG_STATE_HOME: base, NO_COLOR: "1" },
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { out, err, code };
}

/** An agent's home that is in order. */
function place(policy?: string): string[] {
  const home = agentHome(base, "web-01");
  prepareHome(home);
  writeFileSync(home.configFile, "agent: { id: web-01 }\n", { mode: 0o640 });
  if (policy !== undefined) writeFileSync(home.policyFile, policy, { mode: 0o640 });
  return ["--home", base, "--id", "web-01"];
}

const report = (out: string) => JSON.parse(out) as DoctorReport;
const levelsOf = ({ protections }: DoctorReport) => PROTECTION_LEVELS.map((name) => protections[name].level);
const checkOf = ({ checks }: DoctorReport, name: string) => checks.find((check) => check.name === name);

describe("doctor", () => {
  test("the example of its help runs", async () => {
    const help = await holdfast(["doctor", "--help"]);
    const example = /^Example: holdfast (.+)$/m.exec(help.out)?.[1];
    expect(example).toStartWith("doctor");
    const { out, code } = await holdfast(example!.split(" "));
    expect(code).toBe(report(out).ok ? 0 : 1);
    expect(levelsOf(report(out))).toHaveLength(4);
  });

  test("each level has a reason, each that is not enforced says what to do, and the text names all", async () => {
    const where = place();
    const [json, text] = await Promise.all([
      holdfast(["doctor", "--json", ...where]),
      holdfast(["doctor", ...where]),
    ]);
    const found = report(json.out);
    expect([json.code, text.code]).toEqual([0, 0]);
    const lines = text.out.trimEnd().split("\n");
    for (const name of PROTECTION_LEVELS) {
      const { level, reason, fix } = found.protections[name];
      expect(reason).not.toBe("");
      expect(fix === undefined).toBe(level === "enforced");
      expect(lines.find((line) => line.startsWith(`${name} `))).toContain(level);
      expect(lines.at(-1)).toContain(`${name} ${level}`);
    }
    const documentation = await Bun.file(join(import.meta.dir, "../../docs/sandbox.md")).text();
    for (const key of Object.keys(found)) expect(documentation).toContain(`| \`${key}\``);
    for (const check of found.checks) expect(documentation).toContain(`| \`${check.name}\``);
  });

  test("strict is wrong exactly where a level is not enforced", async () => {
    const { out, code } = await holdfast(["doctor", "--json", ...place("sandbox: strict\n")]);
    expect(report(out).sandbox).toBe("strict");
    expect(code).toBe(levelsOf(report(out)).every((level) => level === "enforced") ? 0 : 1);
  });

  test("off is shown, and no level is called enforced", async () => {
    const { out, code } = await holdfast(["doctor", "--json", ...place("sandbox: off\n")]);
    expect(code).toBe(0);
    expect(new Set(levelsOf(report(out)))).toEqual(new Set(["missing"]));
    expect(checkOf(report(out), "policy")).toMatchObject({ state: "note" });
  });

  test("a broken policy, and a broken configuration, fail", async () => {
    const where = place("sandbx: on\n");
    writeFileSync(agentHome(base, "web-01").configFile, "helth: 1\n");
    const { out, code } = await holdfast(["doctor", "--json", ...where]);
    expect(code).toBe(1);
    expect(checkOf(report(out), "policy")).toMatchObject({
      state: "failed",
      detail: expect.stringContaining('did you mean "sandbox"'),
    });
    expect(checkOf(report(out), "configuration")).toMatchObject({
      state: "failed",
      detail: expect.stringContaining("helth"),
    });
  });

  test("a named agent that is not there is an error", async () => {
    const { err, code } = await holdfast(["doctor", "--home", join(base, "none"), "--id", "web-09"]);
    expect(code).toBe(3);
    expect(err).toContain("there is no agent web-09");
  });

  test.skipIf(!IS_ROOT)("another user may look, and is told that it sees less", async () => {
    const where = place();
    const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const { out, err } = await holdfast(["doctor", "--json", ...where], nobody);
    expect(err).toBe("");
    expect(report(out).uid).toBe(65534);
    expect(checkOf(report(out), "user")).toMatchObject({ state: "note" });
    expect(checkOf(report(out), "home")).toMatchObject({ state: "note" });
  });
});
