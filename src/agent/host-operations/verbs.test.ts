import { describe, expect, test } from "bun:test";
import { systemClock } from "../../core/clock.ts";
import { MAX_JOURNAL_LINES, planOperation, readOperation, VERBS } from "./verbs.ts";
import type { Programs } from "./programs.ts";
import type { JsonObject } from "../../model/json.ts";

const NOTHING: Programs = {
  systemctl: null,
  journalctl: null,
  shutdown: null,
  "apt-get": null,
  dnf: null,
  zypper: null,
  docker: null,
  podman: null,
};
const PROGRAMS: Programs = {
  ...NOTHING,
  systemctl: "/p/systemctl",
  journalctl: "/p/journalctl",
  shutdown: "/p/shutdown",
  "apt-get": "/p/apt-get",
  docker: "/p/docker",
};
const clock = { ...systemClock(), wall: () => 1_700_000_600_000 };

function commands(text: string, given: JsonObject = {}, programs = PROGRAMS): string[][] {
  const plan = planOperation(readOperation(text, given), programs, clock);
  return plan.kind === "programs" ? plan.commands : [[plan.kind, plan.name, plan.signal]];
}

const APT = [
  "/p/apt-get",
  "--yes",
  "--quiet",
  "--option=Dpkg::Options::=--force-confdef",
  "--option=Dpkg::Options::=--force-confold",
  "--option=DPkg::Lock::Timeout=120",
  "--option=APT::Cmd::Pattern-Only=true",
];
const JOURNAL = [
  "/p/journalctl",
  "--no-pager",
  "--quiet",
  "--output=json",
  "--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_PID,_SYSTEMD_UNIT",
];

const good: [operation: string, given: JsonObject, argv: string[][]][] = [
  ["systemd.restart:nginx", {}, [["/p/systemctl", "restart", "--no-ask-password", "--", "nginx.service"]]],
  ["systemd.stop:a.timer", {}, [["/p/systemctl", "stop", "--no-ask-password", "--", "a.timer"]]],
  [
    "systemd.start:dev-disk\\x2duuid.swap",
    {},
    [["/p/systemctl", "start", "--no-ask-password", "--", "dev-disk\\x2duuid.swap"]],
  ],
  [
    "systemd.reload:getty@tty1.service",
    {},
    [["/p/systemctl", "reload", "--no-ask-password", "--", "getty@tty1.service"]],
  ],
  ["journal.read", {}, [[...JOURNAL, "--lines=100"]]],
  [
    "journal.read:ssh",
    { lines: 7, since: "10m", priority: "err" },
    [[...JOURNAL, "--lines=7", "--since=@1700000000", "--priority=err", "--unit=ssh.service"]],
  ],
  ["reboot", {}, [["/p/shutdown", "-r", "+1"]]],
  ["reboot", { delay: "0s" }, [["/p/shutdown", "-r", "+0"]]],
  ["reboot", { delay: "2h" }, [["/p/shutdown", "-r", "+120"]]],
  ["packages.upgrade", { refresh: false }, [[...APT, "upgrade"]]],
  [
    "packages.upgrade:libstdc++6",
    {},
    [
      ["/p/apt-get", "--quiet", "update"],
      [...APT, "install", "--only-upgrade", "--", "libstdc++6"],
    ],
  ],
  ["signal:nginx", { signal: "HUP" }, [["signal", "nginx", "HUP"]]],
  ["container.restart:web-1", {}, [["/p/docker", "restart", "--", "web-1"]]],
];

describe("what an operation comes down to", () => {
  test.each(good)("%s %j", (operation, given, argv) => expect(commands(operation, given)).toEqual(argv));

  test("dnf and zypper, where there is no apt-get", () => {
    const dnf = { ...NOTHING, dnf: "/p/dnf" };
    const zypper = { ...NOTHING, zypper: "/p/zypper" };
    expect(commands("packages.upgrade:curl", {}, dnf)).toEqual([
      ["/p/dnf", "--assumeyes", "--quiet", "--refresh", "upgrade", "curl"],
    ]);
    expect(commands("packages.upgrade:curl", {}, zypper)).toEqual([
      ["/p/zypper", "--non-interactive", "--quiet", "refresh"],
      ["/p/zypper", "--non-interactive", "--quiet", "update", "--", "curl"],
    ]);
  });

  test("a host without the program says which", () => {
    expect(() => commands("systemd.restart:nginx", {}, NOTHING)).toThrow(/needs systemctl/);
    expect(() => commands("container.restart:a", { engine: "podman" })).toThrow(/needs podman/);
    expect(() => commands("packages.upgrade", {}, NOTHING)).toThrow(/apt-get or dnf or zypper/);
  });
});

const bad: [operation: string, given: JsonObject, message: RegExp][] = [
  ["systemd.restart:nginx; rm -rf /", {}, /"nginx; rm -rf \/" is not the name of a systemd unit/],
  ["systemd.restart:--force", {}, /is not the name of a systemd unit/],
  ["systemd.restart:-.mount", {}, /is not the name/],
  ["systemd.restart:nginx*", {}, /is not the name/],
  ["systemd.restart:[ab].service", {}, /is not the name/],
  ["systemd.restart:../../etc", {}, /is not the name/],
  ["systemd.restart:a\nb", {}, /is not the name/],
  ["systemd.restart:", {}, /is not the name/],
  [`systemd.restart:${"a".repeat(250)}`, {}, /is not the name/],
  ["systemd.restart:.service", {}, /is not the name/],
  ["systemd.restart", {}, /needs a systemd unit: systemd.restart:NAME/],
  ["systemd.restart:nginx", { force: true }, /"force"/],
  ["systemd.restrat:nginx", {}, /did you mean systemd.restart\?/],
  ["shell:ls", {}, /no host operation "shell"/],
  ["__proto__:x", {}, /no host operation/],
  ["constructor", {}, /no host operation/],
  ["reboot:now", {}, /reboot takes no object/],
  ["reboot", { delay: "90s" }, /whole minutes/],
  ["reboot", { delay: "25h" }, /up to 24h/],
  ["journal.read", { lines: MAX_JOURNAL_LINES + 1 }, /lines/],
  ["journal.read", { since: "yesterday --user" }, /since/],
  ["packages.upgrade:nginx-", {}, /is not the name of a package/],
  ["packages.upgrade:./evil.deb", {}, /is not the name/],
  ["packages.upgrade:a b", {}, /is not the name/],
  ["signal:nginx", {}, /signal/],
  ["signal:nginx", { signal: "STOP" }, /signal/],
  ["signal:1", { signal: 9 as never }, /signal/],
  ["container.restart:-a", {}, /is not the name of a container/],
];
test.each(bad)("refused: %s %j", (operation, given, message) => {
  expect(() => readOperation(operation, given)).toThrow(message);
});

/** mulberry32: the same hostile objects at each run. */
function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const PIECES = [
  ..."abz09-_.@:\\+*?[]{}()$`'\"|&;<>~#!=,/ \t\n\r\0é☃",
  "--",
  "-o",
  "--force",
  "$(id)",
  "`id`",
  "&&",
  "||",
  "../",
  ".service",
  ".deb",
  "\\x2d",
  "nginx",
  "APT::",
  "=true",
];
const METACHARACTERS = /[\s*?[\]{}()$`'"|&;<>~#!=,/\0]/;

test("no object puts an option, a word or a shell's character anywhere into an argument list", () => {
  const random = seeded(20_261_121);
  const given: Record<string, JsonObject> = { signal: { signal: "TERM" } };
  let accepted = 0;
  for (const [verb, row] of Object.entries(VERBS)) {
    if (row.object.need === "none") continue;
    const plain = commands(`${verb}:SAMPLE.service`, given[verb]);
    for (let round = 0; round < 3000; round++) {
      const pieces = Array.from({ length: 1 + Math.floor(random() * 6) }, () =>
        random() < 0.6
          ? "nginx-1.@"[Math.floor(random() * 9)]!
          : PIECES[Math.floor(random() * PIECES.length)]!,
      );
      let argv: string[][];
      let object: string;
      try {
        object = readOperation(`${verb}:${pieces.join("")}`, given[verb]).object!;
        argv = commands(`${verb}:${pieces.join("")}`, given[verb]);
      } catch {
        continue;
      }
      accepted++;
      expect(object).not.toMatch(METACHARACTERS);
      expect(object).not.toStartWith("-");
      expect(argv).toEqual(
        plain.map((line) => line.map((word) => word.replace("SAMPLE.service", () => object))),
      );
    }
  }
  expect(accepted).toBeGreaterThan(1000);
});
