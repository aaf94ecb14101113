import { expect, test } from "bun:test";
import { readJunit } from "./junit.ts";

test("counts are those of files, not of the groups inside", () => {
  const xml = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="bun test" tests="7" failures="2">
  <testsuite name="src/a.test.ts" file="src/a.test.ts" tests="5" failures="1" skipped="1" time="0.25">
    <testsuite name="group" tests="3" failures="1" skipped="0" time="0.1">
      <testsuite name="deeper" tests="1" failures="0" skipped="0" time="0" />
    </testsuite>
  </testsuite>
  <testsuite name="src/b.test.ts" file="src/b.test.ts" tests="1" failures="1" skipped="0" time="1">
    <testcase name="a &lt;testsuite&gt; in a name" />
  </testsuite>
  <testsuite name="src/c.test.ts" tests="1" failures="0" skipped="0" time="0"/>
</testsuites>`;
  expect(readJunit(xml)).toEqual([
    { file: "src/a.test.ts", passed: 3, failed: 1, skipped: 1, seconds: 0.25 },
    { file: "src/b.test.ts", passed: 0, failed: 1, skipped: 0, seconds: 1 },
    { file: "src/c.test.ts", passed: 1, failed: 0, skipped: 0, seconds: 0 },
  ]);
});
