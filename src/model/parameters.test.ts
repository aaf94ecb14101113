import { describe, expect, test } from "bun:test";
import type { Json, JsonObject } from "./json.ts";
import { checkParameters, declarationProblems, readArguments } from "./parameters.ts";
import type { ParameterDefinition } from "./pipeline.ts";

const parameter = (name: string, options: Partial<ParameterDefinition> = {}): ParameterDefinition => ({
  name,
  type: "string",
  description: "",
  required: (options.default ?? null) === null,
  default: null,
  pattern: null,
  choices: null,
  ...options,
});
const problems = (definitions: ParameterDefinition[], given: JsonObject) => {
  const checked = checkParameters(definitions, given);
  return "problems" in checked ? checked.problems : [];
};

describe("parameters", () => {
  test("a pipeline that declares none takes any; defaults are filled in", () => {
    expect(checkParameters([], { x: [1] })).toEqual({ params: { x: [1] } });
    const definitions = [
      parameter("unit"),
      parameter("wait", { type: "duration", default: "5s" }),
      parameter("note", { required: false }),
    ];
    expect(checkParameters(definitions, { unit: "a" })).toEqual({ params: { unit: "a", wait: "5s" } });
  });

  test("every problem at once, each naming the parameter", () => {
    const definitions = [
      parameter("unit", { pattern: "[a-z]+" }),
      parameter("count", { type: "int" }),
      parameter("mode", { choices: ["stop", "start"] }),
      parameter("label"),
    ];
    expect(problems(definitions, { unit: "A1", count: 1.5, mode: "strat", nuit: 1 })).toEqual([
      "there is no parameter 'nuit'; did you mean 'unit'?",
      "too few parameters, 4 required but 3 given; missing: 'label'",
      "'A1' doesn't match the pattern for parameter 'unit': [a-z]+",
      "'1.5' is not a whole number, which parameter 'count' must be",
      "'strat' is not a choice for parameter 'mode': one of stop, start; did you mean 'start'?",
    ]);
  });

  test("a pattern is for the whole text, in linear time", () => {
    expect(problems([parameter("x", { pattern: "[a-z]+" })], { x: "ab1" })).toHaveLength(1);
    expect(problems([parameter("x", { pattern: "(a+)+$" })], { x: `${"a".repeat(50_000)}!` })).toHaveLength(
      1,
    );
  });

  const typed: [ParameterDefinition["type"], Json, Json][] = [
    ["string", "x", 1],
    ["int", 3, 3.5],
    ["number", 3.5, "3.5"],
    ["bool", true, "true"],
    ["duration", "1h30m", "soon"],
    ["list", [1], { 0: 1 }],
    ["object", { a: 1 }, [1]],
  ];
  test.each(typed)("a %s: %j, not %j", (type, good, wrong) => {
    expect(problems([parameter("x", { type })], { x: good })).toEqual([]);
    expect(problems([parameter("x", { type })], { x: wrong })).toHaveLength(1);
  });

  test("a declaration that could never work", () => {
    expect(declarationProblems(parameter("x", { pattern: "(" }))).toMatchObject([{ key: "pattern" }]);
    expect(declarationProblems(parameter("x", { type: "int", default: "a" }))).toEqual([
      { key: "default", message: "'a' is not a whole number, which parameter 'x' must be" },
    ]);
    expect(declarationProblems(parameter("x", { pattern: "a", default: "a" }))).toEqual([]);
  });
});

describe("words of a command line", () => {
  const read = (words: string[], definitions: ParameterDefinition[] = []) =>
    readArguments(words, definitions);

  test("are read as their declared type", () => {
    const definitions = [
      parameter("text"),
      parameter("n", { type: "int" }),
      parameter("on", { type: "bool" }),
      parameter("hosts", { type: "list" }),
      parameter("map", { type: "object" }),
      parameter("wait", { type: "duration" }),
    ];
    const words = ["text=1", "n=42", "on=true", "hosts=a, b", 'map={"a":1}', "wait=5s"];
    expect(read(words, definitions)).toEqual({
      params: { text: "1", n: 42, on: true, hosts: ["a", "b"], map: { a: 1 }, wait: "5s" },
    });
    expect(read(["hosts=[1,2]"], definitions)).toEqual({ params: { hosts: [1, 2] } });
  });

  test("stay text where they are not of it, so that the check can say so", () => {
    const definitions = [parameter("n", { type: "int" })];
    expect(read(["n=many"], definitions)).toEqual({ params: { n: "many" } });
    expect(read(["n=1.5"], definitions)).toEqual({ params: { n: "1.5" } });
  });

  test("undeclared ones are JSON where that parses; values may hold =", () => {
    expect(read(["a=1", "b=x=y", "c=", "d=[true]"])).toEqual({
      params: { a: 1, b: "x=y", c: "", d: [true] },
    });
  });

  test("problems", () => {
    expect(read(["unit", "=x", "a=1", "a=2"])).toEqual({
      problems: ["'unit' is not name=value", "'=x' is not name=value", "parameter 'a' is given twice"],
    });
    const odd = read(["__proto__=1"], [parameter("a", { required: false })]);
    expect("params" in odd && problems([parameter("a", { required: false })], odd.params)).toEqual([
      "there is no parameter '__proto__'; it takes a",
    ]);
  });
});
