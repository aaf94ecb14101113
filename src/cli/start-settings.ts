import { celChecks } from "../agent/config/checks.ts";
import { agentHome } from "../agent/config/home.ts";
import { loadConfig, requireConfig } from "../agent/config/load.ts";
import { loadPolicy, policyFiles, policyText } from "../agent/config/policy.ts";
import { HoldfastError } from "../core/errors.ts";
import type { Config } from "../model/config.ts";
import type { Policy } from "../model/policy.ts";

export interface StartQuestion {
  base: string;
  id: string;
  /** Values by key, over those of the files and the environment. */
  flags: Record<string, string | undefined>;
}

export interface StartSettings {
  config: Config;
  policy: { text: string; problem: string | null; sandbox: Policy["sandbox"] };
}

/** The configuration and the policy with which an agent starts. Throws `invalid` with every problem of the configuration. */
export async function readStartSettings({ base, id, flags }: StartQuestion): Promise<StartSettings> {
  const home = agentHome(base, id);
  const loaded = await loadConfig({
    configFile: home.configFile,
    confDir: home.confDir,
    env: process.env,
    flags,
    // A plugin that is missing or broken costs its own trigger or step, not the agent: it is shown in status.
    checks: { expressions: celChecks },
  });
  const config = requireConfig(loaded);
  const policy = await loadPolicy(policyFiles(home));
  const sandbox = policy.policy?.sandbox ?? "on";
  return { config, policy: { text: policyText(policy), problem: policy.problem, sandbox } };
}

/** `holdfast __settings QUESTION`: what `settingsInProcess` asks. */
export async function printStartSettings(question: string): Promise<void> {
  const answer = await readStartSettings(JSON.parse(question) as StartQuestion).then(
    (settings) => ({ settings }),
    (error: unknown) => {
      if (!(error instanceof HoldfastError)) throw error;
      return { refused: { code: error.code, message: error.message } };
    },
  );
  process.stdout.write(JSON.stringify(answer));
}
