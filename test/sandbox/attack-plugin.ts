/** The plugin that attacks: bundled into one file, and loaded by the real plugin host in a worker. */
import { defineAction, v } from "holdfast";
import { ATTACKS } from "./attacks/all.ts";
import { makeCalls } from "./attacks/kit.ts";
import type { Attack, Target } from "./attack.ts";

const settings = v.object({ tasks: v.array(v.any()) });

export default defineAction({
  name: "attack",
  description: "Tries to leave the sandbox",
  settings,
  async run({ settings }) {
    for (const { attack, language, target } of settings.tasks as Task[]) {
      const known = ATTACKS.find((item) => item.id === attack)!;
      console.log(`BEGIN ${target.id}`);
      console.log(await tried(known, language, { ...target, own: process.env.HOME! }));
    }
  },
});

interface Task {
  attack: string;
  language: "ts" | "ffi";
  target: Target;
}

async function tried(attack: Attack, language: "ts" | "ffi", target: Target): Promise<string> {
  try {
    const got = language === "ffi" ? makeCalls(attack.calls!, target) : await attack.code!.ts!(target);
    return `ESCAPED ${target.id} ${oneLine(got)}`;
  } catch (error) {
    const message = oneLine(error instanceof Error ? error.message : error);
    if (attack.reached?.some((name) => message.endsWith(`: ${name}`)))
      return `ESCAPED ${target.id} reached ${message}`;
    return `STOPPED ${target.id} ${message}`;
  }
}

function oneLine(value: unknown): string {
  return String(value).replaceAll(/\s+/g, " ").slice(0, 300);
}
