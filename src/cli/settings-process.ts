import { type ErrorCode, HoldfastError } from "../core/errors.ts";
import { selfCommand } from "./self.ts";
import type { StartQuestion, StartSettings } from "./start-settings.ts";

/** Files of a megabyte take seconds on a busy machine. */
const LIMIT_MS = 60_000;

/**
 * `readStartSettings` in a process of its own: YAML, the schemas and what they leave behind would stay in the memory of an
 * idle agent for good, for files that it reads once. Where that process fails, this one reads them by itself.
 */
export async function settingsInProcess(question: StartQuestion): Promise<StartSettings> {
  const answer = await ask(question);
  if (answer === null) {
    const { readStartSettings } = await import("./start-settings.ts");
    return await readStartSettings(question);
  }
  if ("settings" in answer) return answer.settings;
  throw new HoldfastError(answer.refused.code, answer.refused.message);
}

type Answer = { settings: StartSettings } | { refused: { code: ErrorCode; message: string } };

async function ask(question: StartQuestion): Promise<Answer | null> {
  try {
    const child = Bun.spawn([...selfCommand(), "__settings", JSON.stringify(question)], {
      stdin: "ignore",
      stderr: "ignore",
      timeout: LIMIT_MS,
      killSignal: "SIGKILL",
    });
    const [said, code] = await Promise.all([child.stdout.text(), child.exited]);
    return code === 0 ? (JSON.parse(said) as Answer) : null;
  } catch {
    // It cannot be started, or what it said was cut off.
    return null;
  }
}
