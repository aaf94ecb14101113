import { afterEach, beforeEach } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatProblem } from "../model/config-problem.ts";
import { celChecks, type ConfigChecks } from "../agent/config/checks.ts";
import { type LoadOptions, loadConfig } from "../agent/config/load.ts";

export const CHECKS: ConfigChecks = { expressions: celChecks };

export type Text = string | Uint8Array;

/** For tests: a fresh folder for each, and `load`, which puts `agent.yaml` and files of conf.d there and loads them. */
export function configFolder() {
  const folder = { path: "", load };
  beforeEach(() => {
    folder.path = mkdtempSync(join(tmpdir(), "holdfast-config-"));
  });
  afterEach(() => rmSync(folder.path, { recursive: true, force: true }));

  async function load(text: Text, layers: Record<string, Text> = {}, options: Partial<LoadOptions> = {}) {
    const { path } = folder;
    writeFileSync(join(path, "agent.yaml"), text);
    mkdirSync(join(path, "conf.d"), { recursive: true });
    for (const [name, layer] of Object.entries(layers)) writeFileSync(join(path, "conf.d", name), layer);
    const loaded = await loadConfig({
      configFile: join(path, "agent.yaml"),
      confDir: join(path, "conf.d"),
      env: {},
      checks: CHECKS,
      ...options,
    });
    const problems = loaded.problems.map((problem) => formatProblem(problem).replaceAll(`${path}/`, ""));
    return { ...loaded, problems, loaded };
  }
  return folder;
}

/** The example of DESIGN section 5, without what is not built yet. */
export const DESIGN_EXAMPLE = `agent: { id: web-01, labels: { role: web, site: berlin } }
hub:   { url: grpcs://hub.example:8443 }
health: { listen: 127.0.0.1:9110 }
triggers:
  - name: front
    plugin: http-probe
    with: { url: http://127.0.0.1:8080/, every: 10s, failures: 3 }
rules:
  - name: restart the front when it is down
    on: front
    when: event.type == "probe.down" && event.data.failures >= 3      # CEL
    run: restart-front
    cooldown: 5m
pipelines:
  restart-front:
    namespace: web
    concurrency: 1
    steps:
      - { id: restart, action: service, with: { unit: front, do: restart }, timeout: 30s,
          retry: { attempts: 3, backoff: exponential, initial: 2s, max: 1m }, effect: idempotent }
      - { id: check, needs: [restart], action: http, with: { url: "\${{ event.data.url }}", expect: 200 } }
    on_failure:
      - { id: tell, action: notify, with: { text: "front on \${{ agent.id }} stays down" } }
outputs:
  - { name: archive, plugin: file, match: 'event.type.startsWith("probe.")', with: { path: archive.jsonl } }
`;
