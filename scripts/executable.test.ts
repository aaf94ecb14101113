import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildExecutable, findText, ROOT } from "./executable.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-build-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function source(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

async function run(command: string[], cwd: string): Promise<string> {
  const child = Bun.spawn(command, { cwd, stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  expect(`${err}${await child.exited}`).toBe("0");
  return out;
}

describe("an executable", () => {
  test("knows its version, and takes nothing from the folder it runs in", async () => {
    const entry = source(
      "facts.ts",
      `console.log(JSON.stringify({
        version: process.env.HOLDFAST_VERSION,
        time: Number(process.env.HOLDFAST_BUILD_TIME_MS),
        commit: process.env.HOLDFAST_COMMIT,
        dotenv: process.env.FROM_DOTENV ?? null,
        preloaded: globalThis.preloaded ?? null,
      }));`,
    );
    const built = await buildExecutable({ outfile: join(folder, "facts"), entry });
    source(".env", "FROM_DOTENV=1\n");
    source("preload.ts", "globalThis.preloaded = 1;");
    source("bunfig.toml", 'preload = ["./preload.ts"]\n');
    const facts = JSON.parse(await run([built.path], folder));
    expect(facts).toMatchObject({
      version: built.version,
      commit: built.commit,
      dotenv: null,
      preloaded: null,
    });
    expect(Math.abs(facts.time - Date.now())).toBeLessThan(60_000);
    expect(readdirSync(folder).filter((name) => name.startsWith(".build-"))).toEqual([]);
  });

  test("of CommonJS packages that look beside themselves holds no path of this checkout", async () => {
    // The entry must lie where packages resolve from.
    const entry = join(ROOT, `scripts/.build-test-${process.pid}.ts`);
    try {
      writeFileSync(
        entry,
        'import * as grpc from "@grpc/grpc-js"; console.log(typeof grpc.getChannelzServiceDefinition, typeof grpc.Client);',
      );
      const built = await buildExecutable({ outfile: join(folder, "grpc"), entry });
      expect(await findText(built.path, ROOT)).toEqual([]);
      expect(await run([built.path], "/")).toBe("function function\n");
    } finally {
      rmSync(entry, { force: true });
    }
  });

  test("that would hold such a path is refused, and none is left behind", async () => {
    const entry = source("leak.ts", `console.log(${JSON.stringify(`${ROOT}/somewhere`)});`);
    const outfile = join(folder, "leak");
    expect(buildExecutable({ outfile, entry })).rejects.toThrow("holds the path of this checkout");
    await buildExecutable({ outfile, entry }).catch(() => {});
    expect(existsSync(outfile)).toBe(false);
  });

  test("that does not build leaves the one of before", async () => {
    const outfile = join(folder, "kept");
    writeFileSync(outfile, "before");
    const broken = source("broken.ts", 'import "./is-not-there.ts";');
    const message = await buildExecutable({ outfile, entry: broken }).catch((error: Error) => error.message);
    expect(message).toContain("is-not-there");
    expect(await Bun.file(outfile).text()).toBe("before");
    expect(buildExecutable({ outfile, entry: join(folder, "no.ts") })).rejects.toThrow("is missing");
  });
});

test("an unknown target is named beside the known ones", async () => {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "build.ts"), "--target", "amiga"], {
    stdout: "ignore",
    stderr: "pipe",
  });
  expect(await new Response(child.stderr).text()).toMatch(
    /no target "amiga".*linux-x64, linux-arm64, linux-x64-musl/,
  );
  expect(await child.exited).toBe(1);
});
