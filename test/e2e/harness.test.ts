import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withFileLock } from "./file-lock.ts";
import { freePort, runHoldfast, startHoldfast, temporaryHome, until } from "./harness.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-harness-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const shell = (script: string) => ["-c", script];

describe("processes", () => {
  test("a command runs to its end with its output and exit code", async () => {
    const result = await runHoldfast("/bin/sh", shell("echo out; echo err >&2; exit 3"));
    expect(result).toEqual({ exitCode: 3, stdout: "out\n", stderr: "err\n" });
  });

  test("the ready line is found among others, and kill -9 waits for the end", async () => {
    const started = await startHoldfast(
      "/bin/sh",
      shell('echo "{not json"; echo "{\\"ready\\":true,\\"id\\":\\"a\\"}"; exec sleep 60'),
    );
    expect(started.ready).toEqual({ ready: true, id: "a" });
    await started.kill();
    expect(() => process.kill(started.pid, 0)).toThrow("ESRCH");
    expect(await started.exited).toBe("SIGKILL");
  });

  test("a process that ends before it is ready is an error with what it said", async () => {
    const starting = startHoldfast("/bin/sh", shell("echo no such home >&2; exit 4"));
    expect(starting).rejects.toThrow(/ended with 4 before it was ready[\s\S]*no such home/);
    await starting.catch(() => {});
  });

  test("a process that never gets ready is killed", async () => {
    const pidFile = join(folder, "pid");
    const starting = startHoldfast("/bin/sh", shell(`echo $$ > ${pidFile}; exec sleep 60`), {}, 300);
    expect(starting).rejects.toThrow("waited 300 ms");
    await starting.catch(() => {});
    expect(() => process.kill(Number(readFileSync(pidFile, "utf8")), 0)).toThrow("ESRCH");
  });

  test("stop asks, and tells when nobody listens", async () => {
    const polite = await startHoldfast(
      "/bin/sh",
      shell("trap 'exit 7' TERM; echo '{\"ready\":true}'; while :; do sleep 0.02; done"),
    );
    expect(await polite.stop()).toBe(7);
    const deaf = await startHoldfast(
      "/bin/sh",
      shell("trap '' TERM; echo '{\"ready\":true}'; while :; do sleep 0.02; done"),
    );
    expect(deaf.stop(100)).rejects.toThrow("did not end within 100 ms");
    await deaf.exited;
  });
});

describe("help", () => {
  test("until names what it waited for", async () => {
    expect(until("rain", () => false, 20)).rejects.toThrow("waited 20 ms for rain");
    await until("a number", async () => true, 0);
  });

  test("a free port can be listened on", async () => {
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: await freePort(),
      fetch: () => new Response(""),
    });
    expect(server.port).toBeGreaterThan(0);
    await server.stop(true);
  });

  test("homes are removed and processes killed when the tests end", async () => {
    const script = join(folder, "leave.ts");
    writeFileSync(
      script,
      `import { startHoldfast, temporaryHome } from "${import.meta.dir}/harness.ts";
       const started = await startHoldfast("/bin/sh", ["-c", "echo '{\\"ready\\":true}'; exec sleep 60"]);
       console.log(JSON.stringify({ home: temporaryHome(), pid: started.pid }));
       process.exit(0);`,
    );
    const { stdout } = await runHoldfast(process.execPath, [script]);
    const left = JSON.parse(stdout) as { home: string; pid: number };
    expect(existsSync(left.home)).toBe(false);
    await until("the child to be gone", () => !existsSync(`/proc/${left.pid}/exe`), 2_000);
    expect(existsSync(temporaryHome())).toBe(true);
  });

  test("one holder of a lock at a time, also after one that died", async () => {
    const path = join(folder, "lock");
    const dead = Bun.spawn(["true"]);
    await dead.exited;
    writeFileSync(path, String(dead.pid));
    let inside = 0;
    let most = 0;
    const work = () =>
      withFileLock(path, async () => {
        most = Math.max(most, ++inside);
        await Bun.sleep(5);
        inside -= 1;
      });
    await Promise.all([work(), work(), work()]);
    expect(most).toBe(1);
    expect(existsSync(path)).toBe(false);
  });
});
