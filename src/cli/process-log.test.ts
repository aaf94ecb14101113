import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = mkdtempSync(join(tmpdir(), "holdfast-process-log-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const LINES = 300;
const WIDTH = 4_000;

/** Logs more than a pipe holds, less than the file takes in at once, then goes on until the file has it all, and exits at once. */
const PROGRAM = `
import { openProcessLog } from ${JSON.stringify(join(import.meta.dir, "process-log.ts"))};
import { systemClock } from ${JSON.stringify(join(import.meta.dir, "../core/clock.ts"))};
const { log, dropped, close } = openProcessLog({ path: process.argv[1] ?? "", level: "info", maxBytes: 1e9, maxFiles: 1, clock: systemClock(), component: "test" });
for (let n = 0; n < ${LINES}; n++) {
  log.info("line", { n, fill: "ö".repeat(${WIDTH}) });
  if (n % 10 === 0) await Bun.sleep(1);
}
log.info("last");
await close();
console.log(dropped());
process.exit(0);
`;

function start(name: string) {
  const path = join(folder, name);
  const child = Bun.spawn([process.execPath, "-e", PROGRAM, path], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  return { child, path };
}

const numbers = (text: string) =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as { n?: number; fill?: string })
    .filter((line) => line.n !== undefined && line.fill?.length === WIDTH)
    .map((line) => line.n);
const all = Array.from({ length: LINES }, (_, n) => n);

test("every line is on standard error and in the file, whole and in order", async () => {
  const { child, path } = start("both.log");
  const [told, dropped, code] = await Promise.all([child.stderr.text(), child.stdout.text(), child.exited]);
  expect({ dropped: dropped.trim(), code }).toEqual({ dropped: "0", code: 0 });
  expect(numbers(told)).toEqual(all);
  expect(told).toEndWith('"message":"last"}\n');
  expect(numbers(readFileSync(path, "utf8"))).toEqual(all);
});

test("a reader of standard error that has gone costs neither the process nor the file", async () => {
  const { child, path } = start("gone.log");
  await child.stderr.cancel();
  const [dropped, code] = await Promise.all([child.stdout.text(), child.exited]);
  expect({ dropped: dropped.trim(), code }).toEqual({ dropped: "0", code: 0 });
  expect(numbers(readFileSync(path, "utf8"))).toEqual(all);
});
