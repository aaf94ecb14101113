export interface TestCounts {
  file: string;
  passed: number;
  failed: number;
  skipped: number;
  seconds: number;
}

/** Counts a file from Bun's JUnit report; only its outermost suites, which are the files. */
export function readJunit(xml: string): TestCounts[] {
  const files: TestCounts[] = [];
  let depth = 0;
  for (const [, slash, attributes = "", selfClosing] of xml.matchAll(
    /<(\/?)testsuite(?!s)\b([^>]*?)(\/?)>/g,
  )) {
    if (slash) {
      depth -= 1;
      continue;
    }
    if (depth === 0) files.push(counts(attributes));
    if (!selfClosing) depth += 1;
  }
  return files;
}

function counts(attributes: string): TestCounts {
  const number = (name: string) => Number(attributes.match(new RegExp(`\\b${name}="([^"]*)"`))?.[1] ?? 0);
  const failed = number("failures") + number("errors");
  const skipped = number("skipped");
  return {
    file: attributes.match(/\bname="([^"]*)"/)?.[1] ?? "?",
    passed: number("tests") - failed - skipped,
    failed,
    skipped,
    seconds: number("time"),
  };
}
