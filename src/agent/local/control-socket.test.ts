import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { PipelineDefinition, StepDefinition } from "../../model/pipeline.ts";
import type { DeadLetter, RunRow, StepRow } from "../../model/run.ts";
import { until } from "../../testing/until.ts";
import type { ControlPorts, FoundRun } from "./control-ports.ts";
import { CALLER_HEADER } from "./control-request.ts";
import { startControlSocket } from "./control-socket.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-control-"));
const path = join(folder, "control.sock");
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent } as never;

const step = (id: string, more: Partial<StepDefinition> = {}): StepDefinition => ({
  ...{ id, work: "action", action: "exec", needs: [], when: null, foreach: null, with: {}, timeoutMs: 1000 },
  ...{
    deadlineMs: null,
    retry: { attempts: 1, kind: "fixed", initialMs: 0, maxMs: 0 },
    effect: "idempotent",
  },
  ...{ undo: null, exclusive: null, breaker: null, approval: null },
  ...more,
});
const definition = {
  name: "clean",
  namespace: "default",
  description: "cleans",
  params: [],
  priority: 0,
  concurrency: 1,
  steps: [step("a"), step("b", { needs: ["a"] })],
  finally: [step("close"), step("last")],
  onFailure: [step("tell")],
} as unknown as PipelineDefinition;

function runRow(id: string, state: RunRow["state"]): RunRow {
  return {
    ...{ id, pipeline: "clean", definition: "hash", rule: null, starter: { kind: "manual", by: "local:0" } },
    ...{ eventSource: null, eventId: null, params: {}, priority: 0, concurrencyKey: null, parent: null },
    ...{ retryOf: null, state, reason: null, stop: null, deadlineMs: null, output: null },
    ...{ createdMs: 1000, startedMs: 2000, endedMs: state === "running" ? null : 3000 },
  };
}

function stepRow(runId: string, stepId: string, more: Partial<StepRow> = {}): StepRow {
  return {
    ...{
      runId,
      stepId,
      part: "steps",
      position: 0,
      state: "succeeded",
      waits: null,
      attempts: 1,
      unknowns: 0,
    },
    ...{ fence: 1, notBeforeMs: 0, startedMs: 2000, endedMs: 2500, output: null, error: null, reason: null },
    ...{ extra: null, ...more },
  };
}

/** An agent's rooms as far as the routes see them: real data, kept in memory. */
class Rooms {
  readonly calls: unknown[] = [];
  readonly listeners: (() => void)[] = [];
  readonly found = new Map<string, FoundRun>();
  readonly events: CloudEvent[] = [];
  readonly dead = new Map<string, DeadLetter>();

  ports(): ControlPorts {
    const record =
      (name: string) =>
      (...values: unknown[]) =>
        void this.calls.push([name, ...values]);
    const rows = () => [...this.found.values()].toSorted((a, b) => b.number - a.number);
    return {
      agent: "web-01",
      status: async () => ({ id: "web-01" }),
      resetTrigger: (name) => name === "front",
      live: () => [{ id: "run-2", steps: ["b"], overdue: true, heldBack: null }],
      heldBack: () => null,
      held: () => ({ runs: 0, steps: 0 }),
      brake: {
        state: () => ({ on: false, set: null, windows: [] }),
        on: async (asked) => record("brake")(asked),
        off: async (by) => (record("release")(by), true),
      },
      silences: {
        list: () => [],
        show: (id) => {
          throw new HoldfastError("not_found", `no silence ${id}`);
        },
        add: async (asked) => {
          record("silence")(asked);
          throw new HoldfastError("exhausted", "too many");
        },
        end: async (id) => {
          throw new HoldfastError("not_found", `no silence ${id}`);
        },
      },
      pipelines: () => [definition],
      origin: () => null,
      linesOf: async () => ({ lines: [], complete: true }),
      rules: () => [
        {
          ...{ name: "r", enabled: true, priority: 0, on: ["x"], kind: "event", counters: {}, fired: 2 },
          lastFiredMs: 1000,
        },
      ],
      schedules: () => ({
        later: {
          list: () => [],
          cancel: async (id) => (record("cancelLater")(id), `whole-${id}`),
        },
        schedules: {
          list: () => [],
          pause: async (...all) => (record("pause")(...all), true),
          resume: async (...all) => (record("resume")(...all), false),
          next: (name, count) => (record("next")(name, count), [{ atMs: 60_000, shift: "gap" as const }]),
        },
      }),
      engine: () => ({
        start: async (asked) => (record("start")(asked), "new-run"),
        cancel: async (...all) => record("cancel")(...all),
        decide: async (...all) => {
          record("decide")(...all);
          if (all[2].uid === 7) throw new HoldfastError("denied", "who started the run may not approve it");
        },
        retry: async (...all) => (record("retry")(...all), "again"),
        retryDead: async (...all) => (record("retryDead")(...all), "again"),
      }),
      emit: async (event) => {
        this.commit({
          specversion: "1.0",
          source: "urn:holdfast:agent:web-01/manual",
          time: "2026-01-01T00:00:00Z",
          ...event,
        });
      },
      changeFinding: async (id) => {
        throw new HoldfastError("not_found", `no finding ${id}`);
      },
      store: {
        run: async (id) => this.found.get(id) ?? null,
        runs: async ({ limit, before, state }) =>
          rows()
            .filter(
              (row) => row.number < (before ?? Infinity) && (state === undefined || row.run.state === state),
            )
            .slice(0, limit),
        childRuns: async () => [],
        event: async (source, id) =>
          this.events.find((each) => each.source === source && each.id === id) ?? null,
        eventsById: async (id) => this.events.filter((each) => each.id === id),
        texts: async () => ({}),
        events: async ({ limit, before, type }) =>
          this.numbered()
            .filter(({ n, event }) => n < (before ?? Infinity) && (type === undefined || event.type === type))
            .toReversed()
            .slice(0, limit),
        eventsAfter: async (n, limit) => this.numbered().slice(n, n + limit),
        lastEvent: async () => this.events.length,
        deadLetters: async (limit) =>
          [...this.dead.values()].map((each, number) => ({ ...each, number })).slice(0, limit),
        deadLetter: async (id) => this.dead.get(id) ?? null,
        editDeadLetter: async (id, params) =>
          this.dead.set(id, { ...this.dead.get(id)!, params }) !== undefined,
        dropDeadLetter: async (id) => this.dead.delete(id),
        findings: async (filter) => (record("findings")(filter), []),
        finding: async () => null,
        onOutbox: (listener) => void this.listeners.push(listener),
      },
      secrets: {
        list: () => [],
        problem: () => null,
        set: async () => record("set")(),
        remove: async () => false,
        rotate: async () => 0,
      },
      mask: (text) => text.replaceAll("handed-out", "***"),
      parameters: {
        list: (...all) => (record("list")(...all), []),
        set: async (...all) => record("set")(...all),
        remove: async () => false,
      },
      memory: {
        get: async (...at) => (record("get")(...at), null),
        set: async (...all) => record("set")(...all),
        delete: async (...at) => (record("delete")(...at), false),
        list: async (...all) => (record("list")(...all), []),
      },
      clock: systemClock(),
      ids: { next: () => "made-id" },
      log: silent,
    };
  }

  numbered() {
    return this.events.map((event, index) => ({ n: index + 1, body: JSON.stringify(event), event }));
  }

  commit(event: CloudEvent): void {
    this.events.push(event);
    this.changed();
  }

  changed(): void {
    for (const listener of this.listeners) listener();
  }
}

const rooms = new Rooms();
let socket: { stop(): Promise<void> };
beforeAll(() => {
  const later = { state: "queued", notBeforeMs: systemClock().trusted() + 60_000, endedMs: null } as const;
  for (const [number, state] of (["succeeded", "running", "failed"] as const).entries()) {
    const id = `run-${number + 1}`;
    const steps = [stepRow(id, "a"), stepRow(id, "b", later)];
    rooms.found.set(id, { number: number + 1, run: runRow(id, state), steps, attempts: [], definition });
  }
  const error = { code: "failed", message: "no", retryable: false, started: true };
  const letter = {
    runId: "run-3",
    pipeline: "clean",
    rule: null,
    params: { x: 1 },
    state: "failed",
    reason: "why",
  } as const;
  rooms.dead.set("run-3", { ...letter, errors: [{ step: "a", attempt: 1, atMs: 5, error }], createdMs: 5 });
  socket = startControlSocket(path, rooms.ports());
});
afterAll(async () => {
  await socket.stop();
  rmSync(folder, { recursive: true });
});

async function ask(method: string, at: string, body?: unknown, headers: Record<string, string> = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const response = await fetch(`http://localhost${at}`, { unix: path, method, headers, body: text });
  return { status: response.status, body: (await response.json()) as any };
}

test("only the agent's user and root reach the socket; it goes with the agent", () => {
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

describe("runs", () => {
  test("pages, newest first, by state", async () => {
    const first = await ask("GET", "/v1/runs?limit=2");
    expect(first.body.items.map((item: any) => [item.n, item.agent, item.id])).toEqual([
      [3, "web-01", "run-3"],
      [2, "web-01", "run-2"],
    ]);
    expect(first.body.items[1]).toMatchObject({ current: ["b"], overdue: true });
    expect(first.body.next).toBe("2");
    expect((await ask("GET", "/v1/runs?limit=2&before=2")).body).toMatchObject({
      items: [{ id: "run-1" }],
      next: null,
    });
    expect((await ask("GET", "/v1/runs?state=failed")).body.items).toHaveLength(1);
    for (const query of ["state=broken", "limit=0", "limit=9999", "before=x", "agent=web-01", "open=yes"]) {
      expect([query, (await ask("GET", `/v1/runs?${query}`)).body.code]).toEqual([query, "invalid"]);
    }
  });

  test("one, with its steps, when it is tried again, and what has not begun, the last finally first", async () => {
    const { body } = await ask("GET", "/v1/runs/run-2");
    expect(body).toMatchObject({ n: 2, starter: { kind: "manual" }, createdAt: "1970-01-01T00:00:01.000Z" });
    expect(body.steps[1]).toMatchObject({ step: "b", needs: ["a"], action: "exec", key: "run-2/b" });
    expect(Date.parse(body.steps[1].retryAt)).toBeGreaterThan(Date.parse(body.createdAt));
    expect(body.later.map((each: any) => each.step)).toEqual(["last", "close", "tell"]);
    expect((await ask("GET", "/v1/runs/run-1")).body.later).toEqual([]);
    expect(await ask("GET", "/v1/runs/nobody")).toMatchObject({ status: 404, body: { code: "not_found" } });
  });

  test("start, recorded as of the caller; the nearest name of an unknown pipeline; a wrong body", async () => {
    const started = await ask(
      "POST",
      "/v1/runs",
      { pipeline: "clean", params: { x: 1 } },
      { [CALLER_HEADER]: "1234" },
    );
    expect(started).toMatchObject({ status: 200, body: { run: "new-run" } });
    expect(rooms.calls.at(-1)).toEqual(["start", { pipeline: "clean", params: { x: 1 }, by: "local:1234" }]);
    const unknown = await ask("POST", "/v1/runs", { pipeline: "claen" });
    expect(unknown.status).toBe(404);
    expect(unknown.body.message).toContain("did you mean clean?");
    for (const body of [
      "{",
      { params: {} },
      { pipeline: "clean", parms: {} },
      { pipeline: "clean", params: [] },
    ]) {
      expect((await ask("POST", "/v1/runs", body)).status).toBe(422);
    }
    const named = await ask("POST", "/v1/runs", { pipeline: "clean" }, { [CALLER_HEADER]: "root" });
    expect(named.body.message).toContain("no user id");
  });

  test("cancel what has not ended, retry what has", async () => {
    expect((await ask("POST", "/v1/runs/run-2/cancel", { reason: "wrong host" })).status).toBe(200);
    const uid = process.getuid?.();
    expect(rooms.calls.at(-1)).toEqual(["cancel", "run-2", `local:${uid}`, "wrong host"]);
    expect((await ask("POST", "/v1/runs/run-1/cancel")).body.message).toContain(
      "already ended: it is succeeded",
    );
    expect((await ask("POST", "/v1/runs/run-1/retry")).body).toEqual({ run: "again", retryOf: "run-1" });
    expect((await ask("POST", "/v1/runs/run-2/retry")).status).toBe(409);
  });

  test("decisions, on steps whose ids hold other characters, and a refused one", async () => {
    const { steps } = rooms.found.get("run-2")!;
    for (const id of ["b[3]", "b+1", "b~undo"]) {
      steps.push(stepRow("run-2", id));
      const at = `/v1/runs/run-2/steps/${encodeURIComponent(id)}/decision`;
      expect(
        (await ask("POST", at, { decision: "approve", note: "seen" }, { [CALLER_HEADER]: "5" })).status,
      ).toBe(200);
      const decision = { approve: true, by: "local:5", uid: 5, note: "seen" };
      expect(rooms.calls.at(-1)).toEqual(["decide", "run-2", id, decision]);
      steps.pop();
    }
    const at = "/v1/runs/run-2/steps/b/decision";
    expect(await ask("POST", at, { decision: "deny" }, { [CALLER_HEADER]: "7" })).toMatchObject({
      status: 403,
      body: { code: "denied", message: "who started the run may not approve it" },
    });
    expect((await ask("POST", at, { decision: "maybe" })).status).toBe(422);
    expect(
      (await ask("POST", "/v1/runs/run-2/steps/zz/decision", { decision: "deny" })).body.message,
    ).toContain("a, b");
  });

  test("a stream tells each change once and ends with the run", async () => {
    const response = await fetch("http://localhost/v1/runs/run-2/stream", { unix: path });
    const states: string[] = [];
    const reading = (async () => {
      for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
        for (const [, data] of text.matchAll(/^data: (.*)$/gm))
          states.push(...JSON.parse(data!).steps.map((each: any) => `${each.step} ${each.state}`));
      }
    })();
    const found = rooms.found.get("run-2")!;
    await until("the run as it stands", () => states.length === 2);
    rooms.changed();
    found.steps[1] = stepRow("run-2", "b", { state: "running", fence: 2 });
    rooms.changed();
    await until("the change", () => states.length === 3);
    found.steps[1] = stepRow("run-2", "b", { state: "succeeded", fence: 2 });
    found.run = runRow("run-2", "succeeded");
    rooms.changed();
    await reading;
    expect(states).toEqual(["a succeeded", "b queued", "b running", "b succeeded"]);
  });
});

test("a stream of a run with large outputs comes in several frames, and only the last one ends it", async () => {
  const big = "x".repeat(600_000);
  const steps = ["a", "b", "c"].map((id) => stepRow("run-9", id, { output: { big } }));
  rooms.found.set("run-9", { number: 9, run: runRow("run-9", "succeeded"), steps, attempts: [], definition });
  const response = await fetch("http://localhost/v1/runs/run-9/stream", { unix: path });
  const frames = [...(await response.text()).matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data!));
  expect(frames.map((frame) => [frame.state, frame.steps.map((each: any) => each.step).join()])).toEqual([
    ["running", "a"],
    ["running", "b"],
    ["succeeded", "c"],
  ]);
  rooms.found.delete("run-9");
});

test("dead letters: list, show, edit, retry, drop", async () => {
  const [item] = (await ask("GET", "/v1/dead")).body.items;
  expect(item).toMatchObject({ run: "run-3", errorCount: 1 });
  expect(Object.keys(item)).not.toContain("errors");
  expect((await ask("GET", "/v1/dead/run-3")).body.errors).toMatchObject([
    { step: "a", attempt: 1, at: "1970-01-01T00:00:00.005Z", error: { code: "failed" } },
  ]);
  expect((await ask("PUT", "/v1/dead/run-3", { params: { x: 2 } })).body.params).toEqual({ x: 2 });
  expect((await ask("PUT", "/v1/dead/run-3", { params: 2 })).status).toBe(422);
  expect((await ask("POST", "/v1/dead/run-3/retry")).body).toEqual({ run: "again", retryOf: "run-3" });
  expect((await ask("DELETE", "/v1/dead/run-3")).body).toEqual({ run: "run-3" });
  expect((await ask("GET", "/v1/dead/run-3")).body.message).toContain(
    "run run-3 is failed and is not set aside",
  );
  expect((await ask("GET", "/v1/dead/nope")).body.message).toContain("there is no run nope");
});

describe("events", () => {
  test("emit, once for an id, and list by type and severity", async () => {
    expect(
      (await ask("POST", "/v1/events", { type: "x.y", id: "one", severity: "error", data: { a: 1 } })).body,
    ).toEqual({
      source: "urn:holdfast:agent:web-01/manual",
      id: "one",
      duplicate: false,
    });
    expect((await ask("POST", "/v1/events", { type: "x.y", id: "one" })).body.duplicate).toBe(true);
    expect((await ask("POST", "/v1/events", { type: "z" })).body.id).toBe("made-id");
    for (const body of [
      {},
      { type: "" },
      { type: "a b" },
      { type: "x", severity: "loud" },
      { type: "x", tpye: 1 },
    ]) {
      expect((await ask("POST", "/v1/events", body)).status).toBe(422);
    }
    expect((await ask("GET", "/v1/events?type=z")).body.items).toMatchObject([
      { n: 2, id: "made-id", severity: null },
    ]);
    expect((await ask("GET", "/v1/events?severity=error")).body.items).toMatchObject([
      { id: "one", event: { data: { a: 1 } } },
    ]);
  });

  test("a stream begins now, or after a place, and filters", async () => {
    const read = async (query: string, headers: Record<string, string>, count: number, act: () => void) => {
      const stop = new AbortController();
      const response = await fetch(`http://localhost/v1/events/stream${query}`, {
        unix: path,
        headers,
        signal: stop.signal,
      });
      const ids: string[] = [];
      let begun = false;
      const reading = (async () => {
        for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
          begun ||= text.includes("id: ");
          for (const [, data] of text.matchAll(/^data: (.*)$/gm)) ids.push(JSON.parse(data!).id);
        }
      })().catch(() => {});
      await until("the stream to have begun", () => begun);
      act();
      await until(`${count} events`, () => ids.length >= count);
      stop.abort();
      await reading;
      return ids;
    };
    const base = { specversion: "1.0", source: "s", time: "2026-01-01T00:00:00Z" } as const;
    const two = () => {
      rooms.commit({ ...base, id: "t1", type: "t" });
      rooms.commit({ ...base, id: "u1", type: "u" });
    };
    expect(await read("?type=u", {}, 1, two)).toEqual(["u1"]);
    expect(await read("?after=2", {}, 2, () => {})).toEqual(["t1", "u1"]);
    expect(await read("", { "last-event-id": "3" }, 1, () => {})).toEqual(["u1"]);
  });
});

test("so many streams at once, and each that ends makes room", async () => {
  const stop = new AbortController();
  const open = (signal?: AbortSignal) => fetch("http://localhost/v1/events/stream", { unix: path, signal });
  for (let n = 0; n < 32; n++) expect((await open(stop.signal)).status).toBe(200);
  expect((await open()).status).toBe(429);
  stop.abort();
  let status = 0;
  for (const last = new AbortController(); status !== 200;) {
    const response = await open(last.signal);
    status = response.status;
    await response.body!.cancel().catch(() => {});
    if (status === 200) last.abort();
  }
});

test("pipelines, rules, findings, status, triggers, and what there is not", async () => {
  expect((await ask("GET", "/v1/pipelines")).body.items).toMatchObject([
    { name: "clean", steps: ["a", "b"], params: [] },
  ]);
  expect((await ask("GET", "/v1/rules")).body.items).toMatchObject([
    { name: "r", lastFiredAt: "1970-01-01T00:00:01.000Z" },
  ]);
  expect((await ask("GET", "/v1/findings?state=open")).body).toEqual({ items: [], next: null });
  expect(rooms.calls.at(-1)).toEqual(["findings", { state: "open" }]);
  expect((await ask("GET", "/v1/status")).body.id).toBe("web-01");
  expect((await ask("POST", "/v1/triggers/front/reset")).status).toBe(200);
  expect((await ask("POST", "/v1/triggers/back/reset")).status).toBe(404);
  expect(await ask("GET", "/v1/nothing")).toMatchObject({ status: 404, body: { code: "not_found" } });
  expect((await ask("DELETE", "/v1/runs/run-1")).status).toBe(404);
});

test("a socket path that no kernel takes is told as that", () => {
  expect(() => startControlSocket(`/${"x".repeat(120)}`, rooms.ports())).toThrow("choose a shorter --home");
});
