import { type CommandDef, type CommandMeta, renderUsage } from "citty";

type Resolvable = unknown;

/**
 * Help of the deepest command that the words name: what it does, its flags, and last its example. A description is one
 * line; what follows it after an empty line (`Example: …`) shows in the command's own help only.
 */
export async function helpText(root: CommandDef<any>, argv: string[]): Promise<string> {
  let command = root;
  const path = [(await metaOf(root)).name ?? "holdfast"];
  for (const word of argv.filter((part) => !part.startsWith("-"))) {
    const next = (await subCommandsOf(command))[word];
    if (next === undefined) break;
    path.push(word);
    command = (await resolve(next)) as CommandDef<any>;
  }
  const meta = await metaOf(command);
  const [summary, ...rest] = (meta.description ?? "").split("\n\n");
  const usage = await renderUsage({
    ...command,
    meta: { ...meta, name: path.join(" "), description: summary },
    ...(command.subCommands ? { subCommands: await summaries(command) } : {}),
  });
  return [usage.trimEnd(), ...rest].join("\n\n");
}

/** The commands below one, each with the first line of its description. */
async function summaries(command: CommandDef<any>): Promise<Record<string, CommandDef<any>>> {
  const shown: Record<string, CommandDef<any>> = {};
  for (const [name, each] of Object.entries(await subCommandsOf(command))) {
    const meta = await metaOf((await resolve(each)) as CommandDef<any>);
    shown[name] = { meta: { ...meta, description: meta.description?.split("\n\n")[0] } };
  }
  return shown;
}

async function subCommandsOf(command: CommandDef<any>): Promise<Record<string, Resolvable>> {
  return ((await resolve(command.subCommands)) ?? {}) as Record<string, Resolvable>;
}

async function metaOf(command: CommandDef<any>): Promise<CommandMeta> {
  return ((await resolve(command.meta)) ?? {}) as CommandMeta;
}

async function resolve(value: Resolvable): Promise<unknown> {
  return typeof value === "function" ? await (value as () => unknown)() : await value;
}
