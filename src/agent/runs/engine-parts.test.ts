/** How steps of a run follow each other: branches, conditions, lists, the parts at the end, what actions add. */
import { describe, expect, test } from "bun:test";
import type { Json } from "../../model/json.ts";
import type { Addition } from "../../model/pipeline.ts";
import { pipeline as aPipeline, step as aStep } from "../../testing/definitions.ts";
import { failed, ok, runRig } from "../../testing/engine-rig.ts";

const add = (kind: Addition["kind"], action: string, pipeline = false): Addition => ({
  kind,
  action,
  pipeline,
  with: {},
});

describe("branches", () => {
  test("run side by side, what joins them gets both outputs, and the run's output is resolved at its end", async () => {
    const diamond = aPipeline(
      [
        aStep("a"),
        aStep("b", { needs: ["a"] }),
        aStep("c", { needs: ["a"] }),
        aStep("d", { needs: ["b", "c"], with: { sum: "${{ steps.b.output + steps.c.output }}" } }),
      ],
      { output: { total: "${{ steps.d.output }}" } },
    );
    let under = 0;
    let most = 0;
    const rig = runRig(diamond, async ({ step, input }) => {
      most = Math.max(most, ++under);
      await rig.clock.sleep(10);
      under--;
      return ok(step === "d" ? input.sum : { a: 0, b: 2, c: 3 }[step]!);
    });
    const { run } = await rig.ended(rig.start());
    expect(run).toMatchObject({ state: "succeeded", output: { total: 5 } });
    expect(most).toBe(2);
    expect(rig.called()).toEqual(["a", "b", "c", "d"]);
  });

  test("an output that cannot be made fails the run", async () => {
    const rig = runRig(aPipeline([aStep("a")], { output: { x: "${{ steps.a.output.nope }}" } }), () =>
      ok({}),
    );
    const { run } = await rig.ended(rig.start());
    expect(run.state).toBe("failed");
    expect(run.reason).toContain("No such key: nope");
    expect(rig.store.letters.has(run.id)).toBe(true);
  });

  test("a branch that fails leaves out only what needs it", async () => {
    const rig = runRig(
      aPipeline([aStep("a"), aStep("b", { needs: ["a"] }), aStep("c"), aStep("d", { needs: ["c"] })]),
      ({ step }) => (step === "a" ? failed(true) : ok()),
    );
    const id = rig.start();
    expect((await rig.ended(id)).run.state).toBe("failed");
    expect(rig.states(id)).toEqual(["a failed", "b skipped", "c succeeded", "d succeeded"]);
  });

  test("a step whose condition is false is left out, and what needs it goes on", async () => {
    const rig = runRig(
      aPipeline([
        aStep("a", { when: "params.x > 5" }),
        aStep("b", { needs: ["a"], with: { a: "${{ steps.a.state }}" } }),
        aStep("c", { when: "params.nope" }),
      ]),
      () => ok(),
    );
    const id = rig.start({ x: 1 });
    await rig.ended(id);
    expect(rig.states(id)).toEqual(["a skipped", "b succeeded", "c failed"]);
    expect(rig.calls[0]!.input).toEqual({ a: "skipped" });
    expect(rig.store.step(id, "c").error!.message).toContain("when: params.nope: No such key: nope");
  });
});

describe("foreach", () => {
  const each = (concurrency: number, then = {}) =>
    aPipeline([
      aStep("a", {
        foreach: { in: "params.list", concurrency },
        with: { v: "${{ item.value * 2 }}", i: "${{ item.index }}" },
        ...then,
      }),
      aStep("b", { needs: ["a"], with: { all: "${{ steps.a.output }}" } }),
    ]);

  test("runs under its cap, each with its item, and gives the list of outputs in order", async () => {
    let under = 0;
    let most = 0;
    const rig = runRig(each(3), async ({ step, input }) => {
      if (step === "b") return ok();
      most = Math.max(most, ++under);
      await rig.clock.sleep(10 - (input.i as number));
      under--;
      return ok(input.v as Json);
    });
    const { run, steps } = await rig.ended(rig.start({ list: [1, 2, 3, 4, 5, 6, 7] }));
    expect(run.state).toBe("succeeded");
    expect(most).toBe(3);
    expect(rig.calls.at(-1)!.input).toEqual({ all: [2, 4, 6, 8, 10, 12, 14] });
    expect(rig.calls[0]!.key).toBe(`${run.id}/a[0]`);
    expect(steps.find((row) => row.stepId === "a")!.attempts).toBe(0);
  });

  test("over nothing gives nothing; over what is no list fails", async () => {
    const rig = runRig(each(3), () => ok());
    const empty = await rig.ended(rig.start({ list: [] }));
    expect(empty.run.state).toBe("succeeded");
    expect(rig.calls[0]!.input).toEqual({ all: [] });
    const wrong = rig.start({ list: "x" });
    await rig.ended(wrong);
    expect(rig.store.step(wrong, "a").error!.message).toBe("foreach: params.list: gave string, not a list");
    const long = rig.start({ list: Array.from({ length: 1001 }, () => 1) });
    await rig.ended(long);
    expect(rig.store.step(long, "a").error!.message).toContain("1001 items");
  });

  test("a bad item ends the step; items that have not begun do not begin, those under way end", async () => {
    const rig = runRig(each(2), async ({ input }) => {
      await rig.clock.sleep(input.i === 0 ? 5 : 10);
      return input.i === 0 ? failed(true) : ok();
    });
    const id = rig.start({ list: [1, 2, 3, 4] });
    await rig.ended(id);
    expect(rig.states(id)).toEqual([
      "a failed",
      "b skipped",
      "a[0] failed",
      "a[1] succeeded",
      "a[2] skipped",
      "a[3] skipped",
    ]);
  });

  test("items are retried one by one, and undone one by one", async () => {
    const undo = { action: "back", with: { v: "${{ item.value }}", out: "${{ steps.a.output }}" } };
    const retry = { attempts: 2, kind: "fixed" as const, initialMs: 1, maxMs: 1 };
    const definition = each(1, {
      retry,
      undo: { ...undo, timeoutMs: 1000, retry, effect: "at-most-once" },
    });
    const rig = runRig(definition, ({ step, attempt, action, input }) => {
      if (action === "back") return ok();
      if (step === "b") return failed(true);
      return attempt === 1 ? failed(false) : ok(`done ${input.i as number}`);
    });
    await rig.ended(rig.start({ list: ["x", "y"].map((_, index) => index + 10) }));
    const backs = rig.calls.filter((call) => call.action === "back");
    expect(backs.map((call) => call.input)).toEqual([
      { v: 11, out: "done 1" },
      { v: 10, out: "done 0" },
    ]);
  });
});

describe("the parts at the end", () => {
  const undo = (id: string) => ({
    action: `undo-${id}`,
    with: { of: `\${{ steps.${id}.output }}` },
    timeoutMs: 1000,
    retry: { attempts: 1, kind: "fixed" as const, initialMs: 1, maxMs: 1 },
    effect: "at-most-once" as const,
  });
  const whole = () =>
    aPipeline(
      [
        aStep("one", { undo: undo("one") }),
        aStep("two", { needs: ["one"], undo: undo("two") }),
        aStep("three", { needs: ["two"], undo: undo("three") }),
      ],
      {
        finally: [aStep("f1"), aStep("f2")],
        onFailure: [
          aStep("e1", { with: { code: "${{ failure.code }}", step: "${{ failure.step }}" } }),
          aStep("e2"),
        ],
      },
    );
  const order = async (bad: string[]) => {
    const rig = runRig(whole(), ({ step, action }) =>
      bad.includes(step) ? failed(true, false, "broken") : ok(action),
    );
    const { run } = await rig.ended(rig.start());
    return { run, actions: rig.calls.map((call) => call.action), calls: rig.calls };
  };

  test("on success only finally, the last one first", async () => {
    const { run, actions } = await order([]);
    expect(run.state).toBe("succeeded");
    expect(actions).toEqual(["one", "two", "three", "f2", "f1"]);
  });

  test("on failure undo backwards, finally backwards, then on_failure in order with the facts", async () => {
    const { run, actions, calls } = await order(["three"]);
    expect(run).toMatchObject({ state: "failed", reason: "step three is failed: no" });
    expect(actions).toEqual(["one", "two", "three", "undo-two", "undo-one", "f2", "f1", "e1", "e2"]);
    expect(calls[3]!.input).toEqual({ of: "two" });
    expect(calls[7]!.input).toEqual({ code: "broken", step: "three" });
  });

  test("a finally step that fails hides nothing, and the others run all the same", async () => {
    const { run, actions } = await order(["three", "f2", "two~undo"]);
    expect(run.reason).toBe("step three is failed: no");
    expect(actions.slice(3)).toEqual(["undo-two", "undo-one", "f2", "f1", "e1", "e2"]);
    const only = await order(["f1"]);
    expect(only.run.state).toBe("failed");
    expect(only.run.reason).toContain("in finally: step f1 is failed");
    expect(only.actions).not.toContain("e1");
  });
});

describe("what actions add", () => {
  test("A adds B and C, B adds B1: A, B, B1, C, then what needs A", async () => {
    const rig = runRig(aPipeline([aStep("A"), aStep("D", { needs: ["A"] })]), async (call) => {
      if (call.action === "A") {
        await call.add([add("add", "B")]);
        await call.add([add("add", "C"), add("finally", "f1")]);
        await call.add([add("finally", "f2"), add("onFailure", "e1")]);
      }
      if (call.action === "B") await call.add([add("add", "B1")]);
      return ok();
    });
    const { run } = await rig.ended(rig.start());
    expect(run.state).toBe("succeeded");
    expect(rig.calls.map((call) => call.action)).toEqual(["A", "B", "B1", "C", "D", "f2", "f1"]);
  });

  test("inputs of added steps are taken as they are, unless the action says that they are templates", async () => {
    const text = "a line with ${{ failure.code }} in it";
    const rig = runRig(aPipeline([aStep("A")]), async (call) => {
      if (call.action !== "A") return ok();
      await call.add([
        { kind: "onFailure", action: "plain", pipeline: false, with: { text } },
        { kind: "onFailure", action: "template", pipeline: false, with: { text }, templates: true },
      ]);
      return failed(true, false, "broken");
    });
    await rig.ended(rig.start());
    const inputs = Object.fromEntries(rig.calls.map(({ action, input }) => [action, input.text]));
    expect(inputs).toMatchObject({ plain: text, template: "a line with broken in it" });
  });

  test("an added step that fails ends the run there; a run that was spawned goes on by itself", async () => {
    const rig = runRig(
      [aPipeline([aStep("A")]), aPipeline([aStep("alone")], { name: "other" })],
      async (call) => {
        if (call.action === "A") {
          await call.add([add("add", "B"), add("add", "C"), add("spawn", "other"), add("onFailure", "e1")]);
        }
        if (call.action === "alone") await rig.clock.sleep(100);
        return call.action === "B" ? failed(true) : ok();
      },
    );
    const { run } = await rig.ended(rig.start());
    expect(run).toMatchObject({ state: "failed", reason: "step A+1 is failed: no" });
    expect(rig.calls.map((call) => call.action).filter((action) => action !== "alone")).toEqual([
      "A",
      "B",
      "e1",
    ]);
    const [spawned] = await rig.store.childRuns(run.id);
    expect(spawned).toMatchObject({
      pipeline: "other",
      starter: { kind: "spawn", by: run.id },
      rule: "rule",
    });
    expect((await rig.ended(spawned!.id)).run.state).toBe("succeeded");
  });

  test("an attempt that runs again starts over: its steps are dropped, its spawned run is not doubled", async () => {
    const again = { attempts: 2, kind: "fixed" as const, initialMs: 1, maxMs: 1 };
    const pipelines = [
      aPipeline([aStep("A", { retry: again, effect: "idempotent" })]),
      aPipeline([aStep("alone")], { name: "other" }),
    ];
    const rig = runRig(pipelines, async (call) => {
      if (call.action !== "A") return ok();
      await call.add([add("spawn", "other"), add("add", call.attempt === 1 ? "first" : "second")]);
      return call.attempt === 1 ? failed(true) : ok();
    });
    const { run } = await rig.ended(rig.start());
    expect(run.state).toBe("succeeded");
    const actions = rig.calls.map((call) => call.action);
    expect(actions.filter((action) => action !== "alone")).toEqual(["A", "A", "second"]);
    expect(actions.filter((action) => action === "alone")).toHaveLength(1);
    expect(await rig.store.childRuns(run.id)).toHaveLength(1);
  });

  test("a pipeline added where an earlier attempt had spawned one is a run of its own", async () => {
    const again = { attempts: 2, kind: "fixed" as const, initialMs: 1, maxMs: 1 };
    const pipelines = [
      aPipeline([aStep("A", { retry: again, effect: "idempotent" })]),
      aPipeline([aStep("sub")], { name: "other" }),
    ];
    const rig = runRig(pipelines, async (call) => {
      if (call.action !== "A") return ok();
      await call.add([add(call.attempt === 1 ? "spawn" : "add", "other", true)]);
      return call.attempt === 1 ? failed(true) : ok();
    });
    const { run, steps } = await rig.ended(rig.start());
    expect(run.state).toBe("succeeded");
    expect(steps.map((row) => `${row.stepId} ${row.state}`)).toEqual(["A succeeded", "A+1 succeeded"]);
    expect(await rig.store.childRuns(run.id)).toHaveLength(2);
  });

  test("a pipeline that would run inside itself is refused, and may be spawned", async () => {
    const pipelines = [
      aPipeline([aStep("in", { work: "pipeline", action: "inner" })], { name: "outer", concurrency: 1 }),
      aPipeline([aStep("A")], { name: "inner" }),
    ];
    let spawned = false;
    const rig = runRig(pipelines, async (call) => {
      if (call.action !== "A") return ok();
      if (!spawned) await call.add([add("spawn", "outer", true)]);
      spawned = true;
      await call.add([add("add", "outer", true)]);
      return ok();
    });
    const { run, steps } = await rig.ended(rig.start({ pipeline: "outer" }));
    expect(run.state).toBe("failed");
    expect(steps[0]!.error!.message).toContain("would run pipeline outer inside itself");
    const [inner] = await rig.store.childRuns(run.id);
    const [again] = await rig.store.childRuns(inner!.id);
    expect((await rig.ended(again!.id)).run).toMatchObject({ pipeline: "outer", state: "failed" });
  });

  test("nothing unknown, nothing too late, nothing without bounds is added", async () => {
    let late: () => Promise<void> = async () => {};
    const problems: string[] = [];
    const note = async (work: Promise<void>) =>
      work.catch((error: Error) => void problems.push(error.message));
    const rig = runRig(
      aPipeline([aStep("A")], { finally: [aStep("f")] }),
      async (call) => {
        if (call.action === "f") await late();
        if (call.action !== "A") return ok();
        late = () => note(call.add([add("add", "B")]));
        await note(call.add([add("add", "nope")]));
        await note(call.add([add("spawn", "nope")]));
        await note(call.add(Array.from({ length: 101 }, () => add("add", "B"))));
        return ok();
      },
      { effectOf: (action) => (action === "nope" ? undefined : "idempotent") },
    );
    const { run, steps } = await rig.ended(rig.start());
    expect(run.state).toBe("succeeded");
    expect(problems).toEqual([
      "there is no action nope here to add",
      "there is no pipeline nope here to add",
      expect.stringContaining("more than 100"),
      expect.stringContaining("can add nothing"),
    ]);
    expect(steps.map((row) => row.stepId)).toEqual(["A", "f"]);
  });
});
