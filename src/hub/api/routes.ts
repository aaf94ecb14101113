import type { Context, Hono } from "hono";
import { HoldfastError } from "../../core/errors.ts";
import { type ApiEnv, type ApiOptions, problem } from "./context.ts";
import type { LiveStreams } from "./live.ts";
import * as p from "./parameters.ts";
import type { ApiAgent, ApiEvent, ApiRun, ApiStore, EventQuery } from "./ports.ts";
import { agentDetail, agentItem, eventItem, lossItem, runItem, stepItem, time } from "./present.ts";
import { selects } from "./selector.ts";
import type { EventItem, JoinToken, Page, ReceiptKey, RunDetail, RunItem, Stats } from "./views.ts";

type App = Hono<ApiEnv>;

/** A page ends early when its events are this large together: an event may have 256 KB, and a page 1,000 of them. */
const PAGE_BYTES = 4 * 1024 * 1024;
const CHUNK = 50;

export function addRoutes(app: App, options: ApiOptions, live: LiveStreams): void {
  addAgentRoutes(app, options);
  addEventRoutes(app, options, live);
  addRunRoutes(app, options, live);
  addHubRoutes(app, options);
}

function addAgentRoutes(app: App, { store, fleet }: ApiOptions): void {
  app.get("/api/v1/agents", async (c) => {
    const { selector } = p.parseQuery(p.agentsQuery, c.req.url);
    const rows = (await store.agents()).filter((row) => !selector || selects(selector, row.labels));
    return c.json({ items: rows.map((row) => agentItem(row, fleet)), next: null });
  });

  app.get("/api/v1/agents/:id", async (c) => {
    p.parseQuery(p.noQuery, c.req.url);
    const id = c.req.param("id");
    const row = await requireAgent(store, id);
    return c.json(agentDetail(row, await store.agentStreams(id), await store.lostRows(id), fleet));
  });

  app.get("/api/v1/agents/:id/losses", async (c) => {
    p.parseQuery(p.noQuery, c.req.url);
    const { id } = await requireAgent(store, c.req.param("id"));
    return c.json({ items: (await store.agentLosses(id)).map(lossItem), next: null });
  });
}

async function requireAgent(store: ApiOptions["store"], id: string): Promise<ApiAgent> {
  const row = await store.agent(id);
  if (row) return row;
  throw new HoldfastError(
    "not_found",
    `No agent "${id}" is enrolled at this hub: GET /api/v1/agents lists them`,
  );
}

function addEventRoutes(app: App, { store }: ApiOptions, live: LiveStreams): void {
  app.get("/api/v1/events", async (c) => {
    const { cursor, ...filter } = p.parseQuery(p.eventsQuery, c.req.url);
    return c.json(await eventPage(store, { ...filter, before: cursor }));
  });

  app.get("/api/v1/events/stream", (c) => {
    const { after, ...filter } = p.parseQuery(p.eventStreamQuery, c.req.url);
    const source = {
      name: "event" as const,
      head: async () => (await store.heads()).event,
      read: async (n: number, limit: number) => {
        const head = (await store.heads()).event;
        if (head <= n) return { items: [], scanned: n };
        const rows = await store.events({ ...filter, after: n, limit });
        const last = rows.at(-1)?.n ?? n;
        return { items: rows.map(eventItem), scanned: rows.length < limit ? Math.max(last, head) : last };
      },
    };
    return stream(c, live, source, after);
  });
}

function addRunRoutes(app: App, { store }: ApiOptions, live: LiveStreams): void {
  app.get("/api/v1/runs", async (c) => {
    const { cursor, ...filter } = p.parseQuery(p.runsQuery, c.req.url);
    const rows = await store.runs({ ...filter, before: cursor, limit: filter.limit + 1 });
    const items = rows.slice(0, filter.limit);
    const last = items.at(-1);
    const page: Page<RunItem> = {
      items: items.map(runItem),
      next: rows.length > filter.limit && last ? `${last.id}/${last.agent}` : null,
    };
    return c.json(page);
  });

  app.get("/api/v1/runs/stream", (c) => {
    const { after, ...filter } = p.parseQuery(p.runStreamQuery, c.req.url);
    const source = {
      name: "run" as const,
      head: async () => (await store.heads()).run,
      read: async (n: number, limit: number) => {
        const rows = await store.runsChangedAfter(n, limit);
        const items = rows.filter((row) => wanted(row, filter)).map(runItem);
        return { items, scanned: rows.at(-1)?.n ?? n };
      },
    };
    return stream(c, live, source, after);
  });

  app.get("/api/v1/runs/:id", async (c) => {
    const { agent } = p.parseQuery(p.runQuery, c.req.url);
    const reference = p.parseValue(p.runReference, c.req.param("id"), "id");
    const found = await findRun(store, agent, reference);
    const detail: RunDetail = { ...runItem(found.run), steps: found.steps.map(stepItem) };
    return c.json(detail);
  });
}

function addHubRoutes(app: App, options: ApiOptions): void {
  app.post("/api/v1/receipt-key/rotate", async (c) => {
    p.parseQuery(p.noQuery, c.req.url);
    const caller = c.get("caller");
    if (caller.role !== "admin") {
      throw new HoldfastError(
        "denied",
        `The key for receipts is changed by administrators; this token's role is ${caller.role}`,
      );
    }
    const made: ReceiptKey = await options.rotateReceiptKey();
    options.log.info("Key for receipts changed", { caller: caller.name, serial: made.serial });
    return c.json(made, 201);
  });

  const { store, fleet } = options;
  app.get("/api/v1/stats", async (c) => {
    p.parseQuery(p.noQuery, c.req.url);
    const [counts, rows] = await Promise.all([store.counts(), store.agents()]);
    const agentsByStatus = { online: 0, late: 0, offline: 0 };
    for (const row of rows) agentsByStatus[fleet.status(row)]++;
    const { agents, events, runs, records } = counts;
    return c.json({ agents, events, runs, records, agentsByStatus } satisfies Stats);
  });

  app.post("/api/v1/join-tokens", async (c) => {
    p.parseQuery(p.noQuery, c.req.url);
    const caller = c.get("caller");
    if (caller.role !== "admin") {
      throw new HoldfastError(
        "denied",
        `Join tokens are made by administrators; this token's role is ${caller.role}`,
      );
    }
    const type = c.req.header("content-type");
    if (type !== undefined && !/^application\/json\s*(;|$)/i.test(type)) {
      const error = new HoldfastError("usage", "Send the body as application/json");
      return problem(c, error, { status: 415, title: "Unsupported media type" });
    }
    const body = p.parseValue(p.joinTokenBody, await p.jsonBody(c.req.raw), "body");
    const made = await options.createJoinToken(body.uses, body.ttl);
    options.log.info("Join token made", {
      caller: caller.name,
      uses: body.uses,
      expires: time(made.expiresMs),
    });
    const answer: JoinToken = {
      token: made.token,
      expiresAt: time(made.expiresMs),
      uses: body.uses,
      command: made.command,
    };
    return c.json(answer, 201);
  });
}

/** `Last-Event-ID` (a reconnect) goes before `after` (where the client began). */
function stream(
  c: Context<ApiEnv>,
  live: LiveStreams,
  source: Parameters<LiveStreams["respond"]>[0],
  after: number | undefined,
): Response {
  const lastId = c.req.header("last-event-id");
  const from = lastId ? p.parseValue(p.streamPosition, lastId, "Last-Event-ID") : after;
  c.env.timeout?.(c.req.raw, 0);
  return live.respond(source, from, c.req.raw);
}

/** Reads in chunks, so that neither a page nor the reading of it holds hundreds of megabytes. */
async function eventPage(store: ApiStore, filter: EventQuery): Promise<Page<EventItem>> {
  const items: EventItem[] = [];
  let bytes = 0;
  let before = filter.before;
  for (;;) {
    const wantedRows = Math.min(CHUNK, filter.limit - items.length + 1);
    const rows: ApiEvent[] = await store.events({ ...filter, before, limit: wantedRows });
    for (const row of rows) {
      const size = JSON.stringify(row.event).length;
      const full = items.length >= filter.limit || (items.length > 0 && bytes + size > PAGE_BYTES);
      if (full) return { items, next: String(items.at(-1)!.n) };
      items.push(eventItem(row));
      bytes += size;
    }
    if (rows.length < wantedRows) return { items, next: null };
    before = rows.at(-1)!.n;
  }
}

function wanted(row: ApiRun, filter: { agent?: string; pipeline?: string; state?: string }): boolean {
  return (
    (filter.agent === undefined || row.agent === filter.agent) &&
    (filter.pipeline === undefined || row.pipeline === filter.pipeline) &&
    (filter.state === undefined || row.state === filter.state)
  );
}

/** By its whole id, else by the beginning or end of one, which must fit one run only. */
async function findRun(store: ApiStore, agent: string | undefined, reference: string) {
  const whole = await store.run(agent, reference);
  if (whole) return whole;
  const matches = await store.runsMatching(agent, reference, 6);
  if (matches.length > 1) {
    const named = matches.slice(0, 5).map((run) => `${run.id} (${run.agent})`);
    const more = matches.length > 5 ? " and more" : "";
    throw new HoldfastError(
      "conflict",
      `"${reference}" fits several runs: ${named.join(", ")}${more}. Give more characters of the id, or the agent`,
    );
  }
  const match = matches[0];
  const found = match ? await store.run(match.agent, match.id) : null;
  if (found) return found;
  const where = agent === undefined ? "at this hub" : `of agent "${agent}"`;
  throw new HoldfastError(
    "not_found",
    `No run ${where} has the id "${reference}": GET /api/v1/runs lists them`,
  );
}
