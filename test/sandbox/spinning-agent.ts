/** `bun spinning-agent.ts on|off FOLDER`: an agent with one worker that spins; prints the worker's pid when it does. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { probeKernel } from "../../src/agent/workers/sandbox/probe.ts";
import { confinement } from "./confined.ts";
import { adoptChannel, eachLine } from "./run-attack.ts";
import { selfOf, unconfined } from "./starter.ts";

const [how, folder] = process.argv.slice(2) as ["on" | "off", string];
const self = selfOf(undefined);
const code = join(folder, `spin-${how}`);
mkdirSync(code);
writeFileSync(join(code, "spin.sh"), "echo spinning\nwhile :; do :; done\n");
const start =
  how === "off"
    ? unconfined(self, folder)
    : (await confinement(self, await probeKernel(self.command), folder)).start;
const worker = await start({ kind: "script", command: ["/bin/sh", join(code, "spin.sh")], code });
await adoptChannel(worker);
await eachLine(worker.stdout, () => console.log(worker.pid));
