import { expect, test } from "bun:test";
import { MB, resources } from "./hostile-fixtures.ts";
import { type Ending, verdictOf } from "./verdict.ts";

const PEAK = { memoryBytes: 10 * MB, cpuMs: 40, processes: 1, diskBytes: 0 };
const base: Ending = {
  exit: { code: null, signal: "SIGKILL" },
  hit: null,
  oomKills: 0,
  peak: PEAK,
  resources: resources(),
  denials: [],
  host: true,
};
const seen = (memoryMb: number) => ({ ...PEAK, memoryBytes: memoryMb * MB });
const signal = (name: string) => ({ code: null, signal: name });
const code = (number: number) => ({ code: number, signal: null });

const table: [what: string, change: Partial<Ending>, cause: string, text: string][] = [
  [
    "the kernel counted a kill",
    { oomKills: 1, peak: seen(131) },
    "memory",
    "memory: 131 MB used, 128 MB allowed",
  ],
  [
    "… and goes before our own",
    { oomKills: 1, peak: seen(131), hit: { cause: "time", text: "time" } },
    "memory",
    "memory: 131 MB used, 128 MB allowed",
  ],
  [
    "… though little was seen",
    { oomKills: 1, peak: seen(20) },
    "memory",
    "memory: 20 MB used and more asked for, 128 MB allowed",
  ],
  [
    "the watch killed it",
    { hit: { cause: "memory", text: "memory: 140 MB used, 128 MB allowed" } },
    "memory",
    "memory: 140 MB used, 128 MB allowed",
  ],
  ["wall time", { hit: { cause: "time", text: "time: 30 s allowed" } }, "time", "time: 30 s allowed"],
  ["output", { hit: { cause: "output", text: "output: 16 MB allowed" } }, "output", "output: 16 MB allowed"],
  [
    "engine crash near the limit",
    { exit: signal("SIGSEGV"), peak: seen(110) },
    "memory",
    "memory: 110 MB used and more asked for, 128 MB allowed",
  ],
  [
    "abort near the limit",
    { exit: signal("SIGABRT"), peak: seen(128) },
    "memory",
    "memory: 128 MB used, 128 MB allowed",
  ],
  [
    "trap near the limit",
    { exit: signal("SIGTRAP"), peak: seen(127) },
    "memory",
    "memory: 127 MB used and more asked for, 128 MB allowed",
  ],
  ["engine crash far from it", { exit: signal("SIGSEGV"), peak: seen(60) }, "crashed", "crashed(SIGSEGV)"],
  [
    "another signal near the limit",
    { exit: signal("SIGHUP"), peak: seen(127) },
    "crashed",
    "crashed(SIGHUP)",
  ],
  [
    "error at the limit",
    { exit: code(1), peak: seen(125) },
    "memory",
    "memory: 125 MB used and more asked for, 128 MB allowed",
  ],
  ["error well below it", { exit: code(1), peak: seen(110) }, "exited", "exited(1)"],
  ["success at the limit", { exit: code(0), peak: seen(128) }, "exited", "exited(0)"],
  ["processor time", { exit: signal("SIGXCPU") }, "cpu", "cpu: its processor time is used up"],
  [
    "processor time with figures",
    { exit: signal("SIGXCPU"), resources: resources({ cpuTime: 2000 }), peak: { ...PEAK, cpuMs: 2010 } },
    "cpu",
    "cpu: 2 s used, 2 s allowed",
  ],
  [
    "processor time at its hard limit",
    { exit: signal("SIGKILL"), resources: resources({ cpuTime: 2000 }), usage: { cpuMs: 2100 } },
    "cpu",
    "cpu: 2.1 s used, 2 s allowed",
  ],
  [
    "killed with little time used",
    { exit: signal("SIGKILL"), resources: resources({ cpuTime: 500 }) },
    "crashed",
    "crashed(SIGKILL)",
  ],
  [
    "killed with time left",
    { exit: signal("SIGKILL"), resources: resources({ cpuTime: 9000 }) },
    "crashed",
    "crashed(SIGKILL)",
  ],
  ["one big file", { exit: signal("SIGXFSZ") }, "files", "files: a file of 128 MB is the largest allowed"],
  [
    "a script's command and its big file",
    { exit: code(153), host: false, peak: { ...PEAK, diskBytes: 128 * MB } },
    "files",
    "files: a file of 128 MB is the largest allowed",
  ],
  ["a script that only says so", { exit: code(153), host: false }, "exited", "exited(153)"],
  [
    "a script's command near the limit",
    { exit: code(139), host: false, peak: seen(120) },
    "memory",
    "memory: 120 MB used and more asked for, 128 MB allowed",
  ],
  ["a script's command far from it", { exit: code(139), host: false }, "exited", "exited(139)"],
  ["a host that says the same", { exit: code(139), peak: seen(120) }, "exited", "exited(139)"],
  ["a refused system call", { exit: signal("SIGSYS") }, "denied", "denied: a system call"],
  [
    "a refused host",
    { exit: code(1), denials: ["network example.org:443", "x"] },
    "denied",
    "denied: network example.org:443",
  ],
  [
    "a refused host, and it managed",
    { exit: code(0), denials: ["network example.org:443"] },
    "exited",
    "exited(0)",
  ],
  [
    "too many open files",
    { exit: code(1), tooManyFiles: true },
    "files",
    "files: 256 open at once are allowed",
  ],
  [
    "as many files open as are allowed, when last seen",
    { exit: code(1), openFiles: 250, host: false },
    "files",
    "files: 256 open at once are allowed",
  ],
  ["fewer files open", { exit: code(1), openFiles: 200 }, "exited", "exited(1)"],
  ["many files open, and it managed", { exit: code(0), openFiles: 256 }, "exited", "exited(0)"],
  [
    "a thread that the kernel did not start",
    { exit: signal("SIGABRT"), forksRefused: 2 },
    "denied",
    "denied: more than 32 processes and threads at once",
  ],
  [
    "a process that the kernel did not start",
    { exit: code(2), forksRefused: 1, host: false },
    "denied",
    "denied: more than 32 processes at once",
  ],
  ["… and it managed", { exit: code(0), forksRefused: 1 }, "exited", "exited(0)"],
  [
    "the agent had a reason",
    { killedBecause: "is hung: it left 3 pings unanswered" },
    "exited",
    "is hung: it left 3 pings unanswered",
  ],
  ["a plain code", { exit: code(3) }, "exited", "exited(3)"],
  ["a plain crash", { exit: signal("SIGBUS") }, "crashed", "crashed(SIGBUS)"],
];

test.each(table)("%s", (_, change, cause, text) => {
  expect(verdictOf({ ...base, ...change })).toMatchObject({ cause, text });
});

test("the peak comes along, with the kernel's own count of time where that is more", () => {
  expect(verdictOf({ ...base, usage: { cpuMs: 55 } }).peak).toEqual({ ...PEAK, cpuMs: 55 });
  expect(verdictOf({ ...base, usage: { cpuMs: 5 } }).peak).toEqual(PEAK);
});
