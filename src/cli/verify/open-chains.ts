import { existsSync, readFileSync } from "node:fs";
import { AgentChains } from "../../agent/store/chain-reader.ts";
import type { Clock } from "../../core/clock.ts";
import { hubHome, requireHub } from "../../hub/home.ts";
import { HubChains } from "../../hub/store/chain-reader.ts";
import {
  ProjectionCheck,
  type ProjectionCounts,
  projectionProblems,
} from "../../hub/store/projection-check.ts";
import type { ChainItem, RowItem, StreamItem } from "../../protocol/chain-items.ts";
import { certificatesOf } from "../../protocol/transport-tls.ts";
import { readChainFile } from "../chain-file.ts";
import { findAgentHome } from "../home-args.ts";
import { hubBase } from "../hub-args.ts";

/** What is read, wherever it lies. */
export interface OpenChains {
  what: string;
  items(): Iterable<ChainItem> | AsyncIterable<ChainItem>;
  /** Rows that there are, about; null when nobody knows before the end. */
  rows: number | null;
  /** Sees each row, beside the chain. */
  row(stream: StreamItem, row: RowItem): void;
  /** What else is wrong, once all was read. */
  end(): { problems: string[]; projections: ProjectionCounts[] };
  close(): void;
}

export interface Asked {
  hub?: boolean;
  agent?: string;
  file?: string;
  home?: string;
  id?: string;
}

export function openChains(asked: Asked, clock: Clock): OpenChains {
  if (asked.file !== undefined) return fileChains(asked.file);
  return asked.hub ? hubChains(asked, clock) : agentChains(asked, clock);
}

function fileChains(path: string): OpenChains {
  const problems: string[] = [];
  return {
    what: `the export ${path}`,
    items: () => readChainFile(path, (problem) => problems.push(problem)),
    rows: null,
    row() {},
    end: () => ({ problems, projections: [] }),
    close() {},
  };
}

function agentChains(asked: Asked, clock: Clock): OpenChains {
  const home = findAgentHome(asked);
  const authorities = authoritiesIn(home.caFile);
  const chains = new AgentChains({ path: home.database, agent: home.id, authorities, nowMs: clock.wall() });
  return {
    what: `agent ${home.id}`,
    items: () => chains.items(),
    rows: chains.rows,
    row() {},
    end() {
      const problem = chains.epochProblem();
      return { problems: problem === null ? [] : [problem], projections: [] };
    },
    close: () => chains.close(),
  };
}

function hubChains({ home: base, agent }: Asked, clock: Clock): OpenChains {
  const home = hubHome(hubBase(base));
  requireHub(home);
  const authorities = authoritiesIn(home.caFile);
  const only = agent === undefined ? {} : { agent };
  const chains = new HubChains({ path: home.database, authorities, nowMs: clock.wall(), ...only });
  const check = new ProjectionCheck(chains.database);
  return {
    what: `the hub in ${home.root}`,
    items: () => chains.items(),
    rows: chains.rows,
    row: (stream, row) => check.take(stream, chains.stream, row),
    end() {
      const projections = check.end(chains.agents());
      return { problems: projections.flatMap(projectionProblems), projections };
    },
    close: () => chains.close(),
  };
}

/** None in a home that was never enrolled: there are no receipts then either. */
function authoritiesIn(path: string): Uint8Array[] {
  if (!existsSync(path)) return [];
  return certificatesOf(readFileSync(path, "utf8")).map(({ raw }) => new Uint8Array(raw));
}
