import { expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { until } from "../../../testing/until.ts";
import { scriptPipeMaker } from "./script-pipes.ts";

setDefaultTimeout(30_000);

const openPipes = scriptPipeMaker();
const descriptors = () => readdirSync("/proc/self/fd").length;

function start(text: string) {
  const pipes = openPipes();
  const child = Bun.spawn(["/bin/sh", "-c", text], { stdio: pipes.child });
  pipes.closeChild();
  return { ...pipes, child };
}

test("the names of stdin, stdout and stderr work in a script", async () => {
  const { stdin, stdout, stderr } = start("cat /dev/stdin > /dev/stdout; echo oops > /dev/stderr");
  stdin.write("hello\n");
  await stdin.end();
  expect(await new Response(stdout).text()).toBe("hello\n");
  expect(await new Response(stderr).text()).toBe("oops\n");
});

test.skipIf(process.getuid?.() !== 0)("also for a script with a user of its own", async () => {
  const { stdin, stdout, stderr } = start(
    `setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'cat /dev/stdin > /dev/stdout; echo oops > /dev/stderr'`,
  );
  stdin.write("hello\n");
  await stdin.end();
  expect(await new Response(stderr).text()).toBe("oops\n");
  expect(await new Response(stdout).text()).toBe("hello\n");
});

test("what is not read makes the script wait, and nothing is held here", async () => {
  const { stdout, stderr, stdin, child } = start("head -c 200000000 /dev/zero; echo end >&2");
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  const reader = stdout.getReader();
  let bytes = (await reader.read()).value!.length;
  expect(await Promise.race([child.exited, Bun.sleep(100)])).toBeUndefined();
  for (let next = await reader.read(); !next.done; next = await reader.read()) bytes += next.value.length;
  expect(bytes).toBe(200_000_000);
  expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024);
  expect(await new Response(stderr).text()).toBe("end\n");
  await stdin.end();
});

test("no descriptor is left, however it ends", async () => {
  const before = descriptors();
  for (let n = 0; n < 20; n++) {
    const read = start("echo x");
    await Promise.all([new Response(read.stdout).text(), new Response(read.stderr).text(), read.stdin.end()]);
    const cancelled = start("sleep 60");
    const reader = cancelled.stdout.getReader();
    void reader.read();
    cancelled.child.kill("SIGKILL");
    await Promise.all([reader.cancel(), cancelled.stderr.cancel(), cancelled.stdin.end()]);
    await Promise.all([read.child.exited, cancelled.child.exited]);
    openPipes().closeAll();
  }
  await until("all closed", () => descriptors() <= before);
});

test("a script that reads nothing does not hold anybody up", async () => {
  const { stdin, stdout, stderr, child } = start("sleep 0.2");
  const written = (async () => {
    await stdin.write("x".repeat(10_000_000));
    await stdin.flush();
  })();
  expect(written).rejects.toThrow("EPIPE");
  await child.exited;
  await Promise.allSettled([written, stdin.end(), stdout.cancel(), stderr.cancel()]);
});
