import type { Clock } from "../core/clock.ts";
import type { Check } from "../core/health-port.ts";
import { Histogram } from "../core/histogram.ts";
import { renderMetrics } from "../core/metrics.ts";
import { VERSION } from "../core/version.ts";
import type { PartStatus } from "../model/agent-status.ts";
import type { JsonObject } from "../model/json.ts";
import type { Protections } from "../model/protection.ts";
import { agentChecks } from "./agent-checks.ts";
import type { AgentOptions } from "./agent-options.ts";
import type { SharedParts } from "./agent-shared.ts";
import type { Automation } from "./automation.ts";
import { brakeView } from "./local/brake-view.ts";
import type { EmitGate } from "./self-limits/emit-gate.ts";
import type { SelfLimits } from "./self-limits/self-limits.ts";
import type { StoreStats } from "./store/port.ts";
import type { SyncStatus } from "./sync/sync.ts";

/** What of the agent comes and goes, or is not there at first. */
export interface LiveAgent {
  phase: "starting" | "running" | "draining";
  storeProblem: string | null;
  automation: Automation | null;
  sync: { status(): SyncStatus; stop(): Promise<void> } | null;
  healthUrl: string;
}

/** A disk that hangs must not keep the status from whoever looks for the reason. */
const STATS_WAIT_MS = 1_000;
const SYNC_OFF: SyncStatus = {
  state: "disabled",
  sinceMs: 0,
  lastError: null,
  lagRows: 0,
  transport: null,
  hubId: null,
  clockOffsetMs: null,
  reconnects: 0,
};

export type AgentReport = ReturnType<typeof agentReport>;

/** What the agent says of itself: checks, status and metrics. */
export function agentReport(
  options: AgentOptions,
  live: LiveAgent,
  shared: SharedParts,
  { selfLimits, gate, clock }: { selfLimits: SelfLimits; gate: EmitGate; clock: Clock },
) {
  const { home, id } = options;
  const { store, secrets, windows, silences, brake, watch } = shared;
  const startedMono = clock.mono();
  let stats: StoreStats | null = null;
  let protections: Protections | null = null;
  void options.protections.then((known) => (protections = known));

  const parts = (): PartStatus[] => live.automation?.parts() ?? [];
  const held = () => live.automation?.runs.gauges().heldBack ?? { runs: 0, steps: 0 };
  const syncStatus = (): SyncStatus => live.sync?.status() ?? SYNC_OFF;
  const checks = (): Check[] => [
    ...agentChecks({
      phase: live.phase,
      storeProblem: live.storeProblem,
      salvage: store.facts.salvage,
      parts: parts(),
      sync: syncStatus(),
      rules: live.automation?.rules.list() ?? [],
      runProblem: live.automation?.runs.problem() ?? null,
      policyProblem: options.policy.problem,
      secretProblem: secrets.problem(),
      clockBehindMs: clock.trusted() - clock.wall(),
      brake: brake.reason(),
    }),
    selfLimits.check(),
  ];
  const status = (): JsonObject =>
    ({
      id,
      version: VERSION,
      pid: process.pid,
      phase: live.phase,
      uptimeMs: Math.round(clock.mono() - startedMono),
      home: home.root,
      health: live.healthUrl,
      checks: checks(),
      parts: parts(),
      resources: selfLimits.uses(),
      runs: {
        open: live.automation?.runs.openRuns ?? 0,
        stepsRunning: live.automation?.runs.stepsInFlight ?? 0,
      },
      asking: live.automation?.runs.asking() ?? [],
      locks: live.automation?.runs.locks() ?? [],
      schedules: live.automation?.schedules.states() ?? {},
      brake: brakeView(brake.state(), held(), { wallMs: clock.wall(), trustedMs: clock.trusted() }),
      silences: {
        active: silences.active,
        maintenance: windows.open().map(({ definition }) => definition.name),
      },
      sync: syncStatus(),
      store: { epoch: store.facts.epoch, salvage: store.facts.salvage, ...(stats ?? {}) },
      protections,
      policy: options.policy.text,
    }) as unknown as JsonObject;
  const refreshStats = async () => {
    const late = clock.sleep(STATS_WAIT_MS).then(() => stats);
    stats = await Promise.race([store.stats().catch(() => stats), late]);
  };
  const metrics = async () => {
    const { automation } = live;
    const { agentMetrics } = await import("./local/agent-metrics.ts");
    stats = await store.stats();
    return await renderMetrics(
      agentMetrics({
        version: VERSION,
        uptimeSeconds: (clock.mono() - startedMono) / 1000,
        events: automation?.events ?? { events: 0, duplicates: 0, refused: 0 },
        rules: automation?.rules.counters() ?? [],
        openFindings: automation?.rules.openFindings() ?? {},
        ruleTotals: automation?.rules.totals ?? { hops: 0, refused: 0 },
        runs: automation && {
          counters: automation.runs.counters,
          gauges: automation.runs.gauges(),
          breakers: automation.runs.breakers(),
        },
        schedules: automation && {
          counters: automation.schedules.counters,
          states: automation.schedules.states(),
          later: { counters: automation.later.counters, waiting: automation.later.waiting },
        },
        store: stats,
        parts: parts(),
        sync: syncStatus(),
        logLinesDropped: options.logLinesDropped(),
        emitSeconds: automation?.emitSeconds ?? new Histogram(),
        stepSeconds: automation?.stepSeconds ?? new Histogram(),
        workerEnds: automation?.workerEnds() ?? [],
        clockJumps: watch.jumps,
        resources: selfLimits.uses(),
        resourceCounters: selfLimits.counters,
        batchesWaiting: gate.waiting,
        protections,
        brakeOn: brake.reason() !== null,
        silences: {
          active: silences.active,
          windowsOpen: windows.open().length,
          heldBack: silences.totals,
          each: silences.heldBack(),
        },
      }),
    );
  };

  return { parts, held, syncStatus, checks, status, refreshStats, metrics };
}
