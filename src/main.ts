/**
 * Entry of the one executable: a launcher that confines itself, a look at the kernel and a plugin host when the agent started
 * it as one, else the command line. The launcher loads nothing else: what it costs is paid at each start of a worker.
 */
if (process.argv[2] === "__launch") {
  const { runStageOne } = await import("./agent/workers/sandbox/stage-one.ts");
  runStageOne();
} else if (process.argv[2] === "__probe") {
  const { printKernelFacts } = await import("./agent/workers/sandbox/probe-process.ts");
  await printKernelFacts();
} else if (process.argv[2] === "__host") {
  const { runPluginHost } = await import("./agent/workers/host.ts");
  const { loadShipped } = await import("./agent/plugins/shipped.ts");
  await runPluginHost(loadShipped);
} else {
  const { runCli } = await import("./cli/cli.ts");
  await runCli(process.argv.slice(2));
}

export {};
