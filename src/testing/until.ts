/** Waits for a condition that something else brings about; throws what it waited for when it does not come. */
export async function until(what: string, condition: () => boolean, timeoutMs = 5000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for: ${what}`);
    await Bun.sleep(5);
  }
}

/** Waits until a number stays the same for `quietMs`, and gives it back. */
export async function steady(value: () => number, quietMs = 150): Promise<number> {
  let last = value();
  for (let since = performance.now(); performance.now() - since < quietMs; await Bun.sleep(5)) {
    if (value() === last) continue;
    last = value();
    since = performance.now();
  }
  return last;
}
