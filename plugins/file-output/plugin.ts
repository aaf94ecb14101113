import { mkdir } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { type CloudEvent, defineOutput, size, v } from "../../src/sdk/holdfast.ts";
import { appendWhole, repairEnd, rotate } from "./jsonl-file.ts";

/** The kernel's limit for one file; `max_size` is the one that counts. */
const ANY_SIZE = "1024GB";

const settings = v.strictObject({
  path: v.pipe(
    v.string(),
    v.minLength(1),
    v.maxLength(4096),
    v.description("The file; a relative path is taken from the agent's home"),
  ),
  max_size: v.pipe(
    size("100MB"),
    v.minValue(1024, "at least 1KB"),
    v.description("The file is set aside as <path>.1 before it grows over this"),
  ),
  keep: v.pipe(
    v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1000)), 5),
    v.description("Files set aside that are kept"),
  ),
});

/** No state between calls: the file says all there is to know, also after somebody else has moved it. */
export default defineOutput({
  name: "file",
  description: "Writes each event as one line of JSON to a file",
  settings,
  // The folder, for rotation. In the agent's home it is the file alone, and one beside it: see rotate.
  permissions: { write: ["${folder(settings.path)}", "${settings.path}", "${settings.path}.1"] },
  resources: { fileSize: ANY_SIZE },
  async init({ settings, agent, log }) {
    const path = resolve(agent.home, settings.path);
    await mkdir(dirname(path), { recursive: true, mode: 0o750 });
    const cut = await repairEnd(path);
    if (cut > 0) log.warn("cut off a line that was written in part", { path, bytes: cut });
  },
  async write({ settings, agent }, events: CloudEvent[]) {
    if (events.length === 0) return;
    const path = resolve(agent.home, settings.path);
    const bytes = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
    await rotate(path, bytes.length, settings.max_size, settings.keep);
    await appendWhole(path, bytes);
  },
});
