/**
 * A wall clock that is set while the agent runs, and over its restarts, on the compiled executable: what waits goes on
 * waiting, what holds back goes on holding back, and it is told (DESIGN promise 7).
 */
import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hasTool } from "../host-tool.ts";
import {
  buildExecutable,
  type Holdfast,
  runHoldfast,
  startHoldfast,
  temporaryHome,
  until,
} from "./harness.ts";

const ID = "web-01";
const YEAR_S = 365 * 86_400;
const MINUTE_MS = 60_000;
const library = [...new Bun.Glob("*/faketime/libfaketime.so.1").scanSync({ cwd: "/usr/lib" })][0];
const hasFaketime = hasTool("faketime") && library !== undefined;
let executable: string;

beforeAll(async () => {
  executable = await buildExecutable();
}, 240_000);

const CONFIG = `
rules:
  - { name: third, on: manual, type: bad, window: { over: 1h, is: window.count == 3 }, run: mark, params: { by: third } }
  - { name: cools, on: manual, type: cool, cooldown: 1h, run: mark, params: { by: cools } }
  - { name: silent, on: manual, type: beat, absence: { for: 1h }, run: mark, params: { by: silent } }
  - { name: asks, on: manual, type: ask, run: ask }
  - { name: tells, on: clock, run: mark, params: { by: tells } }
pipelines:
  mark: { params: { by: { type: string } }, steps: [{ id: note, action: exec, with: { command: /bin/true } }] }
  ask: { deadline: 2h, steps: [{ id: ask, approval: { text: go on?, timeout: 1h } }] }
schedules:
  - { name: often, every: 1h, run: mark, params: { by: often } }
`;

/** An agent whose wall clock is off by what a file says. */
class ClockedAgent {
  readonly home = temporaryHome();
  readonly #clock = join(this.home, "clock");
  #process: Holdfast | null = null;

  constructor(config: string) {
    const folder = join(this.home, `agent-${ID}`, "config", "conf.d");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "test.yaml"), config);
    this.set(0);
  }

  set(offSeconds: number): void {
    writeFileSync(this.#clock, `${offSeconds < 0 ? "" : "+"}${offSeconds}\n`);
  }

  async start(): Promise<void> {
    const args = ["agent", "run", "--home", this.home, "--id", ID, "--json"];
    this.#process = await startHoldfast(executable, args, {
      HOLDFAST__HEALTH__LISTEN: "127.0.0.1:0",
      LD_PRELOAD: join("/usr/lib", library!),
      FAKETIME_TIMESTAMP_FILE: this.#clock,
      FAKETIME_CACHE_DURATION: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      DONT_FAKE_MONOTONIC: "1",
      NO_FAKE_STAT: "1",
    });
  }

  async stop(): Promise<void> {
    expect(await this.#process!.stop()).toBe(0);
  }

  async kill(): Promise<void> {
    await this.#process!.kill();
  }

  async run(...args: string[]): Promise<string> {
    const result = await runHoldfast(executable, [...args, "--home", this.home, "--id", ID]);
    expect(result.stderr + result.exitCode).toEndWith("0");
    return result.stdout;
  }

  async list<T>(...args: string[]): Promise<T[]> {
    return (JSON.parse(await this.run(...args, "--json")) as { items: T[] }).items;
  }

  emit = (type: string) => this.run("events", "emit", type);

  /** Jumps that were told, in minutes. */
  async jumps(): Promise<number[]> {
    const events = await this.list<{ type: string; event?: any; data?: any }>(
      "events",
      "list",
      "--limit",
      "100",
    );
    return events
      .map((each) => each.event ?? each)
      .filter(({ type }) => type === "clock.jumped")
      .map(({ data }) => Math.round((data as { byMs: number }).byMs / MINUTE_MS))
      .reverse();
  }

  /** Runs by what started them. */
  async started(): Promise<Record<string, number>> {
    const runs = await this.list<{ pipeline: string; rule: string | null }>("runs", "list", "--limit", "100");
    const counts: Record<string, number> = {};
    for (const { pipeline, rule } of runs) counts[rule ?? pipeline] = (counts[rule ?? pipeline] ?? 0) + 1;
    return counts;
  }

  async waits(): Promise<string[]> {
    return (await this.list<{ pipeline: string; state: string }>("runs", "list"))
      .filter(({ pipeline }) => pipeline === "ask")
      .map(({ state }) => state);
  }

  async check(name: string): Promise<{ state: string; reason?: string }> {
    const status = JSON.parse(await this.run("agent", "status", "--json")) as { checks: any[] };
    return status.checks.find((check) => check.name === name);
  }
}

describe.skipIf(!hasFaketime)("a clock that is wrong by a year", () => {
  test("while the agent runs, and as it starts again: nothing fires by it, nothing runs out, and it is told", async () => {
    const agent = new ClockedAgent(CONFIG);
    await agent.start();
    await agent.run("memory", "set", "kept", "1", "--ttl", "1h");
    for (const type of ["bad", "bad", "cool", "beat", "ask"]) await agent.emit(type);
    const before = { cools: 1, asks: 1 };
    await until("the question", async () => (await agent.waits()).length === 1);
    expect(await agent.started()).toEqual(before);

    const unmoved = async (jumps: number[]) => {
      await until("the jump to be told", async () => (await agent.jumps()).length === jumps.length);
      expect(await agent.jumps()).toEqual(jumps);
      await agent.emit("cool");
      await until("what it starts", async () => (await agent.started()).tells === jumps.length);
      expect(await agent.started()).toEqual({ ...before, tells: jumps.length });
      expect(await agent.waits()).toEqual(["running"]);
      expect(await agent.run("memory", "get", "kept")).toBe("1\n");
    };
    agent.set(YEAR_S);
    await unmoved([YEAR_S / 60]);
    agent.set(-YEAR_S);
    await unmoved([YEAR_S / 60, (-2 * YEAR_S) / 60]);
    expect(await agent.check("clock")).toMatchObject({
      state: "degraded",
      reason: expect.stringContaining("365d behind"),
    });

    // It starts with a clock that is a year ahead, after a stop and after a kill.
    await agent.stop();
    agent.set(YEAR_S);
    await agent.start();
    await unmoved([YEAR_S / 60, (-2 * YEAR_S) / 60]);
    await agent.kill();
    agent.set(-YEAR_S);
    await agent.start();
    await unmoved([YEAR_S / 60, (-2 * YEAR_S) / 60]);
    agent.set(0);
    await unmoved([YEAR_S / 60, (-2 * YEAR_S) / 60, YEAR_S / 60]);
    expect(await agent.check("clock")).toEqual({ name: "clock", state: "ok" } as never);

    // What had been remembered still counts.
    await agent.emit("bad");
    await until("the third", async () => (await agent.started()).third === 1);
    await agent.stop();
  }, 180_000);

  test("is told by an agent that has nothing else to do", async () => {
    const agent = new ClockedAgent("agent: { labels: { role: spare } }\n");
    await agent.start();
    agent.set(-YEAR_S);
    await until("the jump to be told", async () => (await agent.jumps()).length === 1);
    expect(await agent.jumps()).toEqual([-YEAR_S / 60]);
    await agent.stop();
  }, 60_000);
});
