import { type CommandDef, type CommandMeta, renderUsage } from "citty";
import { nearest } from "../core/nearest.ts";

type Resolvable = unknown;

/**
 * Help of the deepest command that the words name: what it does, its flags, and last its example. A description is one
 * line; what follows it after an empty line (`Example: …`) shows in the command's own help only.
 */
export async function helpText(root: CommandDef<any>, argv: string[]): Promise<string> {
  const { command, path } = await deepestCommand(root, argv);
  const meta = await metaOf(command);
  const [summary, ...rest] = (meta.description ?? "").split("\n\n");
  const usage = await renderUsage({
    ...command,
    meta: { ...meta, name: path.join(" "), description: summary },
    ...(command.subCommands ? { subCommands: await summaries(command) } : {}),
  });
  return [usage.trimEnd(), ...rest].join("\n\n");
}

/** What is wrong with a command line in the parser's words, with the command's own name and the nearest known one. */
export async function usageProblem(root: CommandDef<any>, argv: string[], message: string): Promise<string> {
  const { command, path, next } = await deepestCommand(root, argv);
  const meant = next && nearest(next, Object.keys(await subCommandsOf(command)));
  const hint = meant && message.startsWith("Unknown command") ? `: did you mean ${meant}?` : ".";
  return `${message.replace(/\.$/, "")}${hint} See ${path.join(" ")} --help.`;
}

/** The command that the words name, and the first word that names none below it. */
async function deepestCommand(root: CommandDef<any>, argv: string[]) {
  let command = root;
  const path = [(await metaOf(root)).name ?? "holdfast"];
  for (const word of argv.filter((part) => !part.startsWith("-"))) {
    const below = (await subCommandsOf(command))[word];
    if (below === undefined) return { command, path, next: word };
    path.push(word);
    command = (await resolve(below)) as CommandDef<any>;
  }
  return { command, path, next: undefined };
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
