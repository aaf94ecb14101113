import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** What `holdfast up` watches and does on a fresh home: visible, harmless, and an example to edit. */
function sampleConfig(id: string): string {
  return `# Configuration of agent ${id}; docs/configuration.md explains every key.
agent:
  id: ${id}
  labels: { role: sample }

triggers:
  - name: sample-log
    plugin: file-tail
    with: { path: sample.log, from: start }
  - name: disk
    plugin: disk
    with: { path: /, below: "5%", every: 30s, report: 1m }

rules:
  - name: react to an error
    on: sample-log
    when: event.data.line.contains("ERROR")
    run: react

pipelines:
  react:
    steps:
      - id: note
        action: exec
        with:
          command: react.sh
          input: { line: "\${{ event.data.line }}" }
          write: [reactions.log]
        timeout: 30s
`;
}

const REACT_SCRIPT = `#!/bin/sh
# Runs for each line of sample.log that holds ERROR; the line comes in HOLDFAST_INPUT_LINE (and as JSON on stdin).
printf '%s reacted to: %s\\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$HOLDFAST_INPUT_LINE" >> "$(dirname "$0")/reactions.log"
echo "noted in reactions.log"
`;

/** Puts the sample into the agent's home. Files that are there already stay as they are. */
export function placeSample(agentHome: string, configFile: string, id: string): void {
  place(configFile, sampleConfig(id), 0o640);
  place(join(agentHome, "react.sh"), REACT_SCRIPT, 0o750);
  place(join(agentHome, "sample.log"), "", 0o640);
}

function place(path: string, content: string, mode: number): void {
  if (existsSync(path)) return;
  writeFileSync(path, content, { mode });
  chmodSync(path, mode);
}
