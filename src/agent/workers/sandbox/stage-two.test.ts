import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openPolicy, runStage } from "../../../testing/stage-one-rig.ts";

const home = mkdtempSync(join(tmpdir(), "holdfast-two-"));
chmodSync(home, 0o755);
afterAll(() => rmSync(home, { recursive: true, force: true }));

const SOURCE = `
import { denyExec } from ${JSON.stringify(import.meta.resolve("./stage-two.ts"))};
import { openKernel } from ${JSON.stringify(import.meta.resolve("./libc.ts"))};
const worker = new Worker(URL.createObjectURL(new Blob([\`
  self.onmessage = () => { try { self.postMessage("thread " + Bun.spawnSync(["/bin/true"]).exitCode); } catch (e) { self.postMessage("thread " + e.code); } };
  self.postMessage("up");
\`])));
const next = () => new Promise((resolve) => { worker.onmessage = (event) => resolve(event.data); });
await next();
console.log("before", Bun.spawnSync(["/bin/true"]).exitCode);
if (process.argv[2] === "deny") denyExec();
const attempt = async (name, action) => {
  try { console.log(name, await action()); } catch (error) { console.log(name, error.code ?? error.message); }
};
await attempt("sync", () => Bun.spawnSync(["/bin/true"]).exitCode);
await attempt("async", () => Bun.spawn(["/bin/true"]).exited);
const answer = next();
worker.postMessage("go");
console.log(await answer);
const kernel = openKernel();
const argv = () => new BigUint64Array([kernel.address("/bin/echo"), kernel.address("replaced"), 0n]);
kernel.call("execve", "/bin/echo", argv(), new BigUint64Array(1));
kernel.call("execveat", -100, "/bin/echo", argv(), new BigUint64Array(1), 0);
console.log("here still");
process.exit(0);
`;
const file = join(home, "program.ts");
writeFileSync(file, SOURCE);

test("denyExec: from then on no thread executes anything", async () => {
  const run = async (how: string) => {
    const stage = await runStage(openPolicy([process.execPath, file, how], { cwd: home }));
    expect(stage.err).toBe("");
    return stage.out.split("\n").filter(Boolean);
  };
  expect(await run("allow")).toEqual(["before 0", "sync 0", "async 0", "thread 0", "replaced"]);
  expect(await run("deny")).toEqual([
    "before 0",
    "sync EACCES",
    "async EACCES",
    "thread EACCES",
    "here still",
  ]);
});
