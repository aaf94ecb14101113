/** The shipped plugins at work in a confined plugin host, with what their manifests and settings give them. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decideGrant } from "../../model/grant-decision.ts";
import type { JsonObject } from "../../model/json.ts";
import { DEFAULT_POLICY } from "../../model/policy.ts";
import { readDefinition } from "../../sdk/definition.ts";
import { manifestOf } from "../../sdk/manifest.ts";
import { runStage, testCommand } from "../../testing/stage-one-rig.ts";
import { agentHome, prepareHome } from "../config/home.ts";
import { makeMissing, protectedPlaces, realPlace } from "../config/policy-places.ts";
import type { KernelFacts } from "../workers/sandbox/kernel-facts.ts";
import { launchPrefix, planLaunch } from "../workers/sandbox/plan-launch.ts";
import { probeKernel } from "../workers/sandbox/probe.ts";
import { loadShipped } from "./shipped.ts";

const REPOSITORY = join(import.meta.dir, "../../..");
const base = realpathSync(mkdtempSync(join(tmpdir(), "holdfast-confined-")));
const home = agentHome(base, "web-01");
let real: KernelFacts;
beforeAll(async () => {
  prepareHome(home);
  writeFileSync(home.keyFile, "SECRET KEY\n");
  mkdirSync(join(home.root, "scripts"));
  writeFileSync(join(home.root, "scripts/words"), "beside it\n");
  real = await probeKernel(testCommand());
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

type Frame = Record<string, unknown>;
const agent = { id: "web-01", labels: {}, home: home.root };

/** Starts the plugin's host, confined, and talks with it: `next` says what it is told after each of its frames. */
async function confined(
  id: string,
  settings: JsonObject,
  kernel: KernelFacts,
  next: (frame: Frame, pid: number) => unknown,
) {
  const manifest = manifestOf(readDefinition(await loadShipped(id)));
  const decision = decideGrant({
    ...manifest,
    settings,
    settingsSchema: manifest.settings,
    policy: DEFAULT_POLICY,
    places: protectedPlaces(home, process.execPath),
    realpath: realPlace,
    canHide: kernel.mountNamespace,
  });
  if (decision.kind === "refused") throw new Error(decision.reasons.join("\n"));
  makeMissing(decision.create);
  const folder = mkdtempSync(join(home.workdir, "w-"));
  const command = testCommand();
  const policy = planLaunch({
    grant: decision.grant,
    kernel,
    worker: {
      kind: "host",
      program: command[0]!,
      argv: [...command, "__host"],
      env: { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: folder, TMPDIR: folder, LANG: "C.UTF-8" },
      cwd: folder,
      folder,
      code: command.length > 1 ? [REPOSITORY] : [],
    },
  });
  const stage = await runStage(policy, {
    prefix: launchPrefix(kernel, policy),
    then: [{ kind: "load", entry: { shipped: id }, describe: false }],
    answer: next,
  });
  expect(stage.frames.filter(({ kind }) => kind === "failed")).toEqual([]);
  return stage.frames;
}

/** One call of an action: its output, or its error. */
async function call(id: string, input: JsonObject, kernel: KernelFacts): Promise<Frame> {
  const frames = await confined(id, input, kernel, (frame) => {
    const told = { id: 1, input, key: "r/s", run: "r", step: "s", attempt: 1, timeoutMs: 20_000, agent };
    if (frame.kind === "ready") return { kind: "call", ...told };
    return frame.kind === "result" || frame.kind === "error" ? { kind: "drain" } : undefined;
  });
  const answer = frames.find(({ kind }) => kind === "result" || kind === "error");
  return (answer?.output ?? answer?.error ?? { frames }) as Frame;
}

const inHome = (path: string) => join(home.root, path);
const read = (path: string) => readFileSync(inHome(path), "utf8");

/** With everything that this kernel has, and without namespaces. */
const KERNELS: [string, (facts: KernelFacts) => KernelFacts][] = [
  ["as this kernel is", (facts) => facts],
  ["without namespaces", (facts) => ({ ...facts, mountNamespace: false, netNamespace: false })],
];

describe.each(KERNELS)("%s", (name, change) => {
  const place = name.replaceAll(" ", "-");

  test("file writes, appends and deletes in its folder, and writes and appends a file of the home in place", async () => {
    const kernel = change(real);
    mkdirSync(inHome(place));
    const wrote = await call("action/file", { path: `${place}/conf`, do: "write", content: "1" }, kernel);
    expect(wrote).toEqual({ path: inHome(`${place}/conf`), bytes: 1 });
    await call("action/file", { path: `${place}/conf`, do: "append", content: "2" }, kernel);
    expect([read(`${place}/conf`), readdirSync(inHome(place))]).toEqual(["12", ["conf"]]);
    expect(await call("action/file", { path: `${place}/conf`, do: "delete" }, kernel)).toMatchObject({
      deleted: true,
    });
    await call("action/file", { path: `${place}.txt`, do: "append", content: "old content" }, kernel);
    await call("action/file", { path: `${place}.txt`, do: "write", content: "new" }, kernel);
    expect(read(`${place}.txt`)).toBe("new");
    const kept = await call("action/file", { path: `${place}.txt`, do: "delete" }, kernel);
    expect(kept).toMatchObject({ started: false });
    expect(read(`${place}.txt`)).toBe("new");
  }, 30_000);

  test("exec runs a script of the home with its folder, writes what the step says, and reaches no key", async () => {
    const script = `#!/bin/sh
cat "$(dirname "$0")/words"
cat ${home.keyFile} 2>/dev/null
echo x > ${inHome("config/agent.yaml")} 2>/dev/null && echo "wrote the configuration"
echo x > ${inHome("other")} 2>/dev/null && echo "wrote another file"
echo y >> ${inHome(`${place}.log`)} && echo wrote
echo z > "$TMPDIR/own" && echo own
`;
    writeFileSync(inHome("scripts/run.sh"), script);
    chmodSync(inHome("scripts/run.sh"), 0o755);
    const output = await call(
      "action/exec",
      { command: "scripts/run.sh", write: [`${place}.log`] },
      change(real),
    );
    expect(output).toMatchObject({ exit: 0, stdout: "beside it\nwrote\nown\n" });
    expect(read(`${place}.log`)).toBe("y\n");
  }, 30_000);

  test("file-tail reads a file of the home that is there", async () => {
    writeFileSync(inHome(`${place}.app.log`), "first line\n");
    const settings = { path: `${place}.app.log`, from: "start" };
    const frames = await confined("trigger/file-tail", settings, change(real), (frame, pid) => {
      if (frame.kind === "ready")
        return { kind: "start_trigger", settings, checkpoint: null, agent, name: "t" };
      if (frame.kind === "emit") process.kill(pid, "SIGKILL");
      return undefined;
    });
    const emit = frames.find(({ kind }) => kind === "emit") as { events: { data: { line: string } }[] };
    expect(emit.events.map(({ data }) => data.line)).toEqual(["first line"]);
  }, 30_000);

  test("the file output rotates in a folder that is made for it, and in place in the home", async () => {
    for (const path of [`${place}-archive/deep/all`, `${place}.jsonl`]) {
      const settings = { path, max_size: "1KB", keep: 2 };
      const event = (id: number) => ({ id: String(id), data: "x".repeat(300) });
      await confined("output/file", settings, change(real), (frame) => {
        if (frame.kind === "ready") return { kind: "start_output", settings, agent, name: "o" };
        const id = frame.kind === "started" ? 1 : frame.kind === "result" ? Number(frame.id) + 1 : 0;
        if (id > 6) return { kind: "drain" };
        return id > 0 ? { kind: "write", id, events: [event(id)] } : undefined;
      });
      const lines = [`${path}.1`, path].flatMap((file) => read(file).trim().split("\n"));
      const ids = lines.map((line) => Number((JSON.parse(line) as { id: string }).id));
      expect(ids).toEqual(Array.from({ length: lines.length }, (_, index) => 7 - lines.length + index));
      expect(lines.length).toBeGreaterThan(3);
    }
  }, 30_000);
});
