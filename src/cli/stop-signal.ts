/** Resolves with the reason to stop: a signal, or the end of stdin when a parent holds us by it. */
export function stopSignal(env: Record<string, string | undefined>): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => resolve(signal));
    if (env.HOLDFAST_PARENT_PIPE !== "1") return;
    const gone = () => resolve("the parent process has gone");
    for (const end of ["end", "close", "error"] as const) process.stdin.on(end, gone);
    process.stdin.resume();
  });
}
