import { describe, expect, test } from "bun:test";
import { schemaIssues, settingsSchemaProblem, withDefaults } from "./settings-schema.ts";

const schema = {
  type: "object",
  properties: {
    path: { type: "string", minLength: 1, maxLength: 5 },
    size: { type: "integer", minimum: 1, maximum: 10 },
    list: { type: "array", items: { type: "number" }, maxItems: 2, default: [1] },
    mode: { enum: ["a", "b"], default: "a" },
    inner: { type: "object", properties: { deep: { type: "boolean", default: true } } },
  },
  required: ["path"],
  additionalProperties: false,
};

test("limits are checked", () => {
  expect(schemaIssues(schema, { path: "x", size: 10, list: [1, 2] })).toEqual([]);
  const issues = schemaIssues(schema, { path: "", size: 11, list: [1, 2, 3], mode: "c", inner: [] });
  expect(issues.map(({ path, message }) => `${path.join(".")}: ${message}`)).toEqual([
    "path: at least 1 character",
    "size: at most 10",
    "list: at most 2 items",
    "mode: is not one of the known values",
    "inner: has the wrong type",
  ]);
});

test("a name that every object has is a missing setting like another", () => {
  const odd = {
    type: "object",
    properties: { a: {} },
    required: ["constructor"],
    additionalProperties: false,
  };
  expect(schemaIssues(odd, {}).map(({ message }) => message)).toEqual(["is missing"]);
  const given = JSON.parse('{"__proto__": 1}');
  expect(schemaIssues({ ...odd, required: [] }, given).map(({ message }) => message)).toEqual([
    "unknown setting",
  ]);
});

test("defaults are filled in, also inside of what is given, and the value given stays as it was", () => {
  const given = { path: "x", inner: {} };
  expect(withDefaults(schema, given)).toEqual({ path: "x", list: [1], mode: "a", inner: { deep: true } });
  expect(given).toEqual({ path: "x", inner: {} });
});

describe("a schema itself", () => {
  test("is fine", () => expect(settingsSchemaProblem(schema, [])).toBeNull());
  test.each<[object, (string | number)[], RegExp]>([
    [{ type: "object", propertys: {} }, ["propertys"], /unknown keyword "propertys"/],
    [{ type: "text" }, ["type"], /unknown type "text"/],
    [{}, ["type"], /"object"/],
    [{ type: "object", properties: { a: { type: "strin" } } }, ["properties", "a", "type"], /strin/],
    [{ type: "object", properties: { a: 1 } }, ["properties", "a"], /must be a map/],
    [{ type: "object", required: "a" }, ["required"], /list of names/],
    [{ type: "object", properties: { a: {} }, required: ["b"] }, ["required", 0], /no property "b"/],
    [{ type: "object", properties: { a: { minimum: "1" } } }, ["properties", "a", "minimum"], /number/],
    [{ type: "array" }, ["type"], /"object"/],
  ])("%j", (schema, path, message) => {
    const problem = settingsSchemaProblem(schema as never, []);
    expect(problem?.path).toEqual(path);
    expect(problem?.message).toMatch(message);
  });
});
