import { describe, expect, test } from "bun:test";
import { celValue, compileExpression, conditionProblem, listProblem } from "./expression.ts";
import { compileTemplate, templateProblems } from "./template.ts";

const context = {
  event: celValue({
    type: "probe.down",
    data: { failures: 3, load: 1.5, list: [1, 2], text: `${"a".repeat(40)}!`, big: 2 ** 60 },
  }),
};

describe("conditions", () => {
  test.each([
    ["event.data.failures >= 3", true],
    ["event.data.failures + 0.5 > 3.0", true],
    ["event.data.load * 2 == 3.0", true],
    ["event.data.list.exists(x, x == 2)", true],
    ["event.type.startsWith('probe.')", true],
    ["has(event.data.nope)", false],
    ["event.data.text.matches('^a+!$')", true],
    ["'x'.matches('y') || event.data.text.matches('nope')", false],
  ])("%s is %p", (source, value) => {
    expect(compileExpression(source).evaluate(context)).toEqual({ kind: "value", value });
  });

  test("a missing key is skipped, not failed", () => {
    expect(compileExpression("event.data.nope > 1").evaluate(context).kind).toBe("skipped");
    expect(compileExpression("'a' == event.type || 1 / 0 == 1").evaluate(context).kind).toBe("error");
  });

  test("matches runs in linear time", () => {
    const started = performance.now();
    const result = compileExpression("event.data.text.matches('(a+)+$')").evaluate(context);
    expect(result).toEqual({ kind: "value", value: false });
    expect(performance.now() - started).toBeLessThan(500);
  });

  test.each([
    ["event.data.failures >", "Unexpected token"],
    ["evnt.type == 'x'", "Unknown variable: evnt"],
    ["'a' + 1 == 2", "no such overload"],
    ["event.type.matches('(')", "bad regular expression"],
    ["", "empty"],
    ["1 + 1", "gives int, not bool"],
    ["[1].all(a, [1].all(b, [1].all(c, true)))", "nested 3 deep"],
    [`event.type == '${"x".repeat(5000)}'`, "more than 4096"],
  ])("what is wrong is told (%#)", (source, message) => {
    expect(conditionProblem(source)).toContain(message);
  });

  test("a good condition has no problem", () => {
    expect(conditionProblem("event.data.failures >= 3 && event.type == 'x'")).toBeNull();
  });
});

describe("templates", () => {
  test("a whole template keeps its type, a part becomes text", () => {
    const template = compileTemplate(
      {
        n: "${{ event.data.failures }}",
        text: "failed ${{ event.data.failures }} times: ${{ event.data.list }}",
        deep: [{ plain: "x", yes: true }, 1, null],
      },
      "with",
    );
    expect(template.resolve(context)).toEqual({
      n: 3,
      text: "failed 3 times: [1,2]",
      deep: [{ plain: "x", yes: true }, 1, null],
    });
  });

  test("a missing key names the place", () => {
    expect(() => compileTemplate({ a: [{ b: "${{ event.data.nope }}" }] }, "with").resolve(context)).toThrow(
      "with.a[0].b: ${{ event.data.nope }}: No such key: nope",
    );
  });

  test("problems carry their path", () => {
    const problems = templateProblems({ ok: "${{ event.id }}", bad: ["x", "${{ event. }}"] });
    expect(problems).toHaveLength(1);
    expect(problems[0]!.path).toEqual(["bad", 1]);
  });

  test("one that does not end is a problem, also behind one that does", () => {
    expect(templateProblems("${{ event.id }} and ${{ event.id }")).toEqual([
      { path: [], message: "it has no }} at its end" },
    ]);
    expect(templateProblems('${{ "${{" }} is literal')).toEqual([]);
  });

  test("what asks for the event of a run that a person started is told why there is none", () => {
    const started = compileTemplate("${{ event.data.line }}", "with.text");
    expect(() => started.resolve({ ...context, event: null })).toThrow(
      "with.text: ${{ event.data.line }}: No such key: data (there is no event: a person started the run)",
    );
  });
});

test("what must give a list", () => {
  expect(listProblem("params.hosts")).toBeNull();
  expect(listProblem("[1, 2].filter(x, x > 1)")).toBeNull();
  expect(listProblem("1 + 1")).toBe("the expression gives int, not a list");
  expect(listProblem("params.")).toContain("Expected");
});
