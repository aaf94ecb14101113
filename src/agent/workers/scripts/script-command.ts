import { open, stat } from "node:fs/promises";

/** Where the interpreter that `env NAME` asks for is sought. */
const SEARCH_PATH = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];

/**
 * The command that runs a program: what its first line says, with `/usr/bin/env NAME` resolved here, so that a script which
 * may start no processes need not be allowed to start `env`.
 */
export async function scriptCommand(program: string): Promise<string[]> {
  const line = await firstLine(program);
  if (!line.startsWith("#!")) return [program];
  const [interpreter, argument] = split(line.slice(2).trim());
  if (!interpreter) return [program];
  if (!/\/env$/.test(interpreter)) return [interpreter, ...(argument ? [argument] : []), program];
  const words = argument.replace(/^-S\s*/, "").split(/\s+/);
  const found = await findProgram(words[0] ?? "");
  // Options of env itself are for env to understand.
  if (found === undefined || (words.length > 1 && !argument.startsWith("-S"))) return [program];
  return [found, ...words.slice(1), program];
}

/** As the kernel does: one interpreter, and the rest of the line as one argument. */
function split(text: string): [string, string] {
  const match = /^(\S+)\s*(.*)$/.exec(text);
  return match ? [match[1]!, match[2]!.trim()] : ["", ""];
}

async function findProgram(name: string): Promise<string | undefined> {
  if (!/^[\w][\w.+-]*$/.test(name)) return undefined;
  for (const folder of SEARCH_PATH) {
    const path = `${folder}/${name}`;
    const facts = await stat(path).catch(() => undefined);
    if (facts?.isFile() && (facts.mode & 0o111) !== 0) return path;
  }
  return undefined;
}

async function firstLine(program: string): Promise<string> {
  const file = await open(program, "r");
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(256), 0, 256, 0);
    return buffer.toString("utf8", 0, bytesRead).split("\n")[0]!;
  } finally {
    await file.close();
  }
}
