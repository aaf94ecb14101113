/** The shape of the code: DESIGN section 2 and section 12. Each rule is also shown to fail on code that breaks it. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { maskSource } from "./architecture/mask-source.ts";
import {
  ambientInputs,
  badNames,
  crossedRooms,
  GOOD_LINES,
  importCycles,
  importedTestCode,
  overlongFiles,
  wrongDirections,
} from "./architecture/rules.ts";
import { isTest, parseFile, readFiles, type SourceFile } from "./architecture/source-file.ts";

const ROOT = join(import.meta.dir, "..");
const product = await readFiles(ROOT, ["src", "plugins"]);
const everything = [...product, ...(await readFiles(ROOT, ["scripts", "bench", "test"]))];

describe("this project", () => {
  test("has sources to look at", () => {
    expect(product.map((file) => file.path)).toContain("src/core/clock.ts");
    expect(product.find((file) => file.path === "src/core/logger.ts")?.imports).toEqual(["src/core/mask.ts"]);
  });
  test("imports go in the directions of the design", () => expect(wrongDirections(product)).toEqual([]));
  test("rooms do not know each other", () => expect(crossedRooms(product)).toEqual([]));
  test("product code uses no test code", () => expect(importedTestCode(product)).toEqual([]));
  test("no import cycles", () => expect(importCycles(product)).toEqual([]));
  test("time and randomness are handed in", () => expect(ambientInputs(product)).toEqual([]));
  test("names are kebab-case, no barrels", () => expect(badNames(everything)).toEqual([]));
  test("files stay small", () => {
    const long = overlongFiles(
      everything.filter((file) => !isTest(file.path)),
      GOOD_LINES,
    );
    if (long.length > 0) console.warn(`longer than they should be:\n  ${long.join("\n  ")}`);
    expect(overlongFiles(everything)).toEqual([]);
  });
});

const one = (path: string, source: string): SourceFile[] => [parseFile(path, source)];

describe("directions", () => {
  const wrong: [path: string, source: string][] = [
    ["src/core/a.ts", 'import { b } from "../model/b.ts";'],
    ["src/core/a.ts", 'import type { B } from "../model/b.ts";'],
    ["src/core/a.ts", 'export { b } from "../model/b.ts";'],
    ["src/core/a.ts", 'export * from "../model/b.ts";'],
    ["src/core/a.ts", 'import "../model/b.ts";'],
    ["src/core/a.ts", 'const b = await import("../model/b.ts");'],
    ["src/core/a.ts", 'let b: import("../model/b.ts").B;'],
    ["src/core/a.ts", 'import {\n  b, // "x"\n  c,\n} from\n  "../model/b.ts";'],
    ["src/model/a.ts", 'import { b } from "../storage/b.ts";'],
    ["src/protocol/a.ts", 'import { b } from "../sdk/b.ts";'],
    ["src/sdk/a.ts", 'import { b } from "../agent/b.ts";'],
    ["src/storage/a.ts", 'import { b } from "../model/b.ts";'],
    ["src/agent/a.ts", 'import { b } from "../hub/b.ts";'],
    ["src/agent/a.ts", 'import { b } from "../cli/b.ts";'],
    ["src/agent/runs/a.ts", 'import { b } from "holdfast";'],
    ["src/agent/plugins/other.ts", 'import { b } from "../../../plugins/disk/b.ts";'],
    ["src/hub/a.ts", 'import { b } from "../agent/store/port.ts";'],
    ["src/cli/a.ts", 'import { b } from "../../plugins/disk/b.ts";'],
    ["src/main.ts", 'import { b } from "./hub/hub.ts";'],
    ["src/elsewhere/a.ts", 'import { b } from "../core/b.ts";'],
    ["plugins/disk/a.ts", 'import { b } from "../../src/core/b.ts";'],
    ["plugins/disk/a.ts", 'import { b } from "../tail/b.ts";'],
  ];
  test.each(wrong)("%s must not say %j", (path, source) => {
    expect(wrongDirections(one(path, source))).toHaveLength(1);
  });

  const right: [path: string, source: string][] = [
    ["src/core/a.ts", 'import { b } from "./b.ts"; import fs from "node:fs";'],
    ["src/agent/a.ts", 'import { b } from "../storage/b.ts"; import { c } from "../protocol/c.ts";'],
    ["src/agent/workers/host.ts", 'import { b } from "../../sdk/holdfast.ts";'],
    ["src/agent/plugins/shipped.ts", 'import disk from "../../../plugins/disk/disk.ts";'],
    ["src/cli/a.ts", 'import { b } from "../hub/hub.ts";'],
    ["src/main.ts", 'await import("./cli/cli.ts"); await import("./agent/workers/host.ts");'],
    ["plugins/disk/a.ts", 'import { b } from "holdfast"; import { c } from "./c.ts";'],
    [
      "src/core/a.ts",
      '// import { b } from "../model/b.ts";\nconst text = `import { b } from "../model/b.ts"`;',
    ],
    ["src/core/a.test.ts", 'import { b } from "../model/b.ts";'],
  ];
  test.each(right)("%s may say %j", (path, source) => expect(wrongDirections(one(path, source))).toEqual([]));
});

test("rooms", () => {
  const rooms = (path: string, to: string) => crossedRooms(one(path, `import type { B } from "${to}";`));
  expect(rooms("src/agent/runs/a.ts", "../store/port.ts")).toHaveLength(1);
  expect(rooms("src/agent/runs/deep/a.ts", "../../store/port.ts")).toHaveLength(1);
  expect(rooms("src/agent/runs/a.ts", "../agent.ts")).toHaveLength(1);
  expect(rooms("src/agent/run/a.ts", "../runs/b.ts")).toHaveLength(1);
  expect(rooms("src/hub/api/a.ts", "../store/port.ts")).toHaveLength(1);
  expect(rooms("src/agent/agent.ts", "./store/port.ts")).toEqual([]);
  expect(rooms("src/agent/runs/a.ts", "./b.ts")).toEqual([]);
  const worker = 'new Worker(new URL("../store/thread.ts", import.meta.url).href)';
  expect(crossedRooms(one("src/agent/runs/a.ts", worker))).toHaveLength(1);
});

test("test code", () => {
  const found = (path: string, to: string) => importedTestCode(one(path, `import { b } from "${to}";`));
  expect(found("src/agent/a.ts", "../testing/test-ca.ts")).toHaveLength(1);
  expect(found("plugins/disk/a.ts", "bun:test")).toHaveLength(1);
  expect(found("src/core/a.ts", "./b.test.ts")).toHaveLength(1);
  expect(found("src/core/a.ts", "../../bench/b.ts")).toHaveLength(1);
  expect(found("src/agent/a.test.ts", "../testing/test-ca.ts")).toEqual([]);
});

test("cycles", () => {
  const a = parseFile("src/core/a.ts", 'import "./b.ts";');
  const b = parseFile("src/core/b.ts", 'import type { C } from "./c.ts"; import "./d.ts";');
  const c = parseFile("src/core/c.ts", 'export { a } from "./a.ts";');
  const d = parseFile("src/core/d.ts", "");
  expect(importCycles([a, b, c, d])).toEqual([
    "src/core/a.ts → src/core/b.ts → src/core/c.ts → src/core/a.ts",
  ]);
  expect(importCycles([a, b, d])).toEqual([]);
  expect(importCycles([parseFile("src/core/self.ts", 'import "./self.ts";')])).toHaveLength(1);
});

describe("ambient inputs", () => {
  const found = (source: string, path = "src/agent/a.ts") => ambientInputs(one(path, source));
  test.each([
    "const now = Date.now();",
    "const now = new Date();",
    "const now = new Date;",
    "const text = Date();",
    "const at = performance.now();",
    "const dice = Math.random();",
    "setTimeout(() => {}, 1);",
    "const t = setInterval (tick, 1);",
    "globalThis.setTimeout(tick, 1);",
    "await Bun.sleep(5);",
    "const text = `it is ${Date.now()}`;",
    'import { setTimeout as wait } from "node:timers/promises";',
    "const ratio = a / b; const now = Date.now(); // a / b",
  ])("%j", (source) => expect(found(source)).toHaveLength(1));

  test.each([
    "const day = new Date(clock.wall());",
    "// Date.now()",
    "/* setTimeout( */ const text = 'Math.random()';",
    "const text = `no Date.now() here ${clock.wall()}`;",
    "const quote = /[\"'`]/; const text = 'Date.now()';",
    "server.setTimeout(5);",
    "const resetTimeout = () => {}; resetTimeout();",
  ])("%j is fine", (source) => expect(found(source)).toEqual([]));

  test("core, tests and test support may", () => {
    for (const path of ["src/core/a.ts", "src/agent/a.test.ts", "src/testing/a.ts"]) {
      expect(found("Date.now()", path)).toEqual([]);
    }
    expect(found("\n\nDate.now()")[0]).toStartWith("src/agent/a.ts:3 ");
  });
});

test("names and sizes", () => {
  const names = (path: string) => badNames(one(path, ""));
  expect(names("src/core/taskGroup.ts")).toHaveLength(1);
  expect(names("src/core/Clock.ts")).toHaveLength(1);
  expect(names("src/coreThings/clock.ts")).toHaveLength(1);
  expect(names("src/core/index.ts")).toHaveLength(1);
  expect(names("src/core/utils.ts")).toHaveLength(1);
  expect(names("src/agent/store/migrations/0001-first.ts")).toEqual([]);
  expect(names("src/core/task-group.test.ts")).toEqual([]);
  expect(overlongFiles(one("src/core/a.ts", "x;\n".repeat(501)))).toHaveLength(1);
  expect(overlongFiles(one("src/core/a.ts", "x;\n".repeat(500)))).toEqual([]);
});

test("masking keeps code, positions and lines", () => {
  const source = "a('x\\'y'); // z\nb(`t ${c({ d: `u ${e}` })} v`); f = 1 / 2 / g; h(/[/]'/);\n";
  const { code, strings } = maskSource(source);
  expect(code).toBe("a('    ');     \nb(`  ${c({ d: `  ${e}` })}  `); f = 1 / 2 / g; h(/    /);\n");
  expect(strings.get(2)).toBe("x\\'y");
});
