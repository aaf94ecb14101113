/** Entry of the one executable: a plugin host when the agent started it as one, else the command line. */
if (process.argv[2] === "__host") {
  const { runPluginHost } = await import("./agent/workers/host.ts");
  const { loadShipped } = await import("./agent/plugins/shipped.ts");
  await runPluginHost(loadShipped);
} else {
  const { runCli } = await import("./cli/cli.ts");
  await runCli(process.argv.slice(2));
}

export {};
