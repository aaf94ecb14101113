import { HoldfastError } from "../core/errors.ts";

const MAX_BYTES = 128 * 1024;
const [CTRL_C, CTRL_D, BACKSPACE, DELETE] = ["\u0003", "\u0004", "\b", "\u007f"];

/** All of standard input without its last line break; on a terminal one line that is not shown. */
export async function readSecret(question: string): Promise<string> {
  if (process.stdin.isTTY) return await readHidden(question);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > MAX_BYTES)
      throw new HoldfastError("too_large", `standard input has more than ${MAX_BYTES} bytes`);
  }
  return Buffer.concat(chunks)
    .toString("utf8")
    .replace(/\r?\n$/, "");
}

async function readHidden(question: string): Promise<string> {
  const { stdin } = process;
  // First: what is typed at once, as by a script, must not be shown either.
  stdin.setRawMode(true);
  process.stderr.write(question);
  stdin.setEncoding("utf8");
  let text = "";
  try {
    for await (const keys of stdin as unknown as AsyncIterable<string>)
      for (const key of keys) {
        if (key === CTRL_C) throw new HoldfastError("cancelled", "nothing was set");
        if (key === "\r" || key === "\n" || key === CTRL_D) return text;
        text = key === BACKSPACE || key === DELETE ? [...text].slice(0, -1).join("") : text + key;
      }
    return text;
  } finally {
    stdin.setRawMode(false);
    stdin.pause();
    process.stderr.write("\n");
  }
}
