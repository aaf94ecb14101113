import { expect, test } from "bun:test";
import { referencesOf } from "./expression-references.ts";

const cases: [source: string, references: string[]][] = [
  ["steps.a.output + 1", ["steps.a"]],
  ["steps['b'].output == params.x && has(steps.c.output)", ["steps.b", "params.x", "steps.c"]],
  ["steps[params.which].output", ["steps", "params.which"]],
  ["params.list.map(item, item.x + params.q)", ["params.list", "params.q"]],
  ["steps.a.output.exists(steps, steps.b == 1) && steps.c", ["steps.a", "steps.c"]],
  ["item.list.filter(x, x == item.value)", ["item.list", "item.value"]],
  ["{'a': params.b, 'c': [steps.d]}", ["params.b", "steps.d"]],
  ["'a' in steps ? event.data.x : failure.step", ["steps", "event.data", "failure.step"]],
  ["1 +", []],
];
test.each(cases)("%s", (source, references) => {
  const found = referencesOf(source).map(({ name, key }) => (key === null ? name : `${name}.${key}`));
  expect(found).toEqual(references);
});
