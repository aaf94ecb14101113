import * as v from "valibot";
import type { AgentHome } from "../../agent/config/home.ts";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import * as views from "../../hub/api/views.ts";
import { PARAMETER_TYPES } from "../../model/pipeline.ts";
import { callAgent, openAgentStream } from "../control-client.ts";
import { type FindingItem, findingSchema, findingsSchema } from "./finding-schemas.ts";
import {
  dueSchema,
  type LaterItem,
  laterSchema,
  type ScheduleItem,
  scheduleSchema,
} from "./schedule-schemas.ts";
import { followStream, type Query, type StreamOptions } from "./follow.ts";

export interface AgentClientOptions {
  home: AgentHome;
  clock: Clock;
  ids: Pick<Ids, "random">;
}

const parameterSchema = v.looseObject({
  name: v.string(),
  type: v.picklist(PARAMETER_TYPES),
  description: v.string(),
  required: v.boolean(),
  default: v.any(),
  pattern: v.nullable(v.string()),
  choices: v.nullable(v.array(v.string())),
});
const pipelineSchema = v.looseObject({
  name: v.string(),
  description: v.string(),
  params: v.array(parameterSchema),
});
export type PipelineInfo = v.InferOutput<typeof pipelineSchema>;

const DEAD = {
  run: v.string(),
  pipeline: v.string(),
  rule: v.nullable(v.string()),
  state: v.string(),
  reason: v.string(),
  errorCount: v.number(),
  createdAt: v.string(),
} as const;
const deadItemSchema = v.looseObject({ n: v.number(), ...DEAD });
export type DeadItem = v.InferOutput<typeof deadItemSchema>;

const deadSchema = v.looseObject({
  ...DEAD,
  params: v.record(v.string(), v.any()),
  errors: v.array(
    v.looseObject({ step: v.string(), attempt: v.number(), at: v.string(), error: v.unknown() }),
  ),
});
export type DeadDetail = v.InferOutput<typeof deadSchema>;

const made = v.looseObject({ run: v.string() });
const itemsOf = <T>(schema: v.GenericSchema<unknown, T>) => v.looseObject({ items: v.array(schema) });

/** An agent of this host over its control socket, typed. Lists and details have the hub's fields, and more. */
export class AgentClient {
  readonly #options: AgentClientOptions;

  constructor(options: AgentClientOptions) {
    this.#options = options;
  }

  get home(): AgentHome {
    return this.#options.home;
  }

  runs({ cursor, ...query }: Query = {}): Promise<views.Page<views.RunItem>> {
    return this.#get(
      `/v1/runs${search({ ...query, before: cursor })}`,
      views.pageSchema(views.runItemSchema),
    );
  }

  /** `id` may be a whole id, or at least 4 characters of its beginning or end. */
  run(id: string): Promise<views.RunDetail> {
    return this.#get(`/v1/runs/${encodeURIComponent(id)}`, views.runDetailSchema);
  }

  /** The run as it stands, then each time it changes with the steps that have; the last one has ended. */
  followRun(id: string, options: StreamOptions): AsyncGenerator<views.RunDetail> {
    return this.#follow(`/v1/runs/${encodeURIComponent(id)}/stream`, "run", views.runDetailSchema, options);
  }

  events({ cursor, ...query }: Query = {}): Promise<views.Page<views.EventItem>> {
    const path = `/v1/events${search({ ...query, before: cursor })}`;
    return this.#get(path, views.pageSchema(views.eventItemSchema));
  }

  followEvents(options: StreamOptions): AsyncGenerator<views.EventItem> {
    const path = `/v1/events/stream${search({ ...options.filter, after: options.after })}`;
    return this.#follow(path, "event", views.eventItemSchema, options);
  }

  async pipelines(): Promise<PipelineInfo[]> {
    return (await this.#get("/v1/pipelines", itemsOf(pipelineSchema))).items;
  }

  async start(pipeline: string, params: Record<string, unknown>): Promise<string> {
    return (await this.#send("POST", "/v1/runs", made, { pipeline, params })).run;
  }

  async cancel(id: string, reason: string): Promise<string> {
    return (await this.#send("POST", `/v1/runs/${encodeURIComponent(id)}/cancel`, made, { reason })).run;
  }

  retry(id: string): Promise<{ run: string; retryOf: string }> {
    const retried = v.looseObject({ run: v.string(), retryOf: v.string() });
    return this.#send("POST", `/v1/runs/${encodeURIComponent(id)}/retry`, retried);
  }

  async decide(id: string, step: string, decision: "approve" | "deny", note: string): Promise<void> {
    const path = `/v1/runs/${encodeURIComponent(id)}/steps/${encodeURIComponent(step)}/decision`;
    await this.#send("POST", path, v.looseObject({}), { decision, note });
  }

  deadLetters({ cursor, ...query }: Query = {}): Promise<views.Page<DeadItem>> {
    return this.#get(`/v1/dead${search({ ...query, before: cursor })}`, views.pageSchema(deadItemSchema));
  }

  deadLetter(id: string): Promise<DeadDetail> {
    return this.#get(`/v1/dead/${encodeURIComponent(id)}`, deadSchema);
  }

  editDeadLetter(id: string, params: Record<string, unknown>): Promise<DeadDetail> {
    return this.#send("PUT", `/v1/dead/${encodeURIComponent(id)}`, deadSchema, { params });
  }

  async dropDeadLetter(id: string): Promise<string> {
    return (await this.#send("DELETE", `/v1/dead/${encodeURIComponent(id)}`, made)).run;
  }

  async retryDeadLetter(id: string): Promise<string> {
    return (await this.#send("POST", `/v1/dead/${encodeURIComponent(id)}/retry`, made)).run;
  }

  async rules(): Promise<Record<string, unknown>[]> {
    return (await this.#get("/v1/rules", itemsOf(v.looseObject({ name: v.string() })))).items;
  }

  schedules(): Promise<{ items: ScheduleItem[]; later: LaterItem[] }> {
    const schema = v.looseObject({ items: v.array(scheduleSchema), later: v.array(laterSchema) });
    return this.#get("/v1/schedules", schema);
  }

  async cancelLater(id: string): Promise<string> {
    const cancelled = v.looseObject({ id: v.string() });
    return (await this.#send("DELETE", `/v1/later/${encodeURIComponent(id)}`, cancelled)).id;
  }

  changeSchedule(name: string, verb: "pause" | "resume"): Promise<{ name: string; changed: boolean }> {
    const changed = v.looseObject({ name: v.string(), changed: v.boolean() });
    return this.#send("POST", `/v1/schedules/${encodeURIComponent(name)}/${verb}`, changed);
  }

  nextOfSchedule(name: string, limit?: string): Promise<{ items: { at: string; shift: string | null }[] }> {
    const path = `/v1/schedules/${encodeURIComponent(name)}/next${search({ limit })}`;
    return this.#get(path, itemsOf(dueSchema));
  }

  findings(query: Query): Promise<{ items: FindingItem[]; next: string | null }> {
    return this.#get(`/v1/findings${search(query)}`, findingsSchema);
  }

  finding(id: string): Promise<FindingItem> {
    return this.#get(`/v1/findings/${encodeURIComponent(id)}`, findingSchema);
  }

  changeFinding(
    id: string,
    verb: "acknowledge" | "note" | "resolve",
    body: Record<string, unknown>,
  ): Promise<FindingItem> {
    return this.#send("POST", `/v1/findings/${encodeURIComponent(id)}/${verb}`, findingSchema, body);
  }

  emit(event: Record<string, unknown>): Promise<{ source: string; id: string; duplicate: boolean }> {
    const emitted = v.looseObject({ source: v.string(), id: v.string(), duplicate: v.boolean() });
    return this.#send("POST", "/v1/events", emitted, event);
  }

  /** Any request of the control socket, for commands that know what they get. */
  ask<T>(
    method: "GET" | "POST" | "PUT" | "DELETE",
    path: string,
    schema: v.GenericSchema<unknown, T>,
    body?: unknown,
  ): Promise<T> {
    return this.#send(method, path, schema, body);
  }

  #follow<T>(path: string, name: string, schema: v.GenericSchema<unknown, T>, options: StreamOptions) {
    const { home, clock, ids } = this.#options;
    return followStream({
      ...options,
      name,
      clock,
      random: () => ids.random(),
      parse: (data) => this.#parse(schema, JSON.parse(data), path),
      open: (lastId, signal) => openAgentStream(home.controlSocket, home.id, path, lastId, signal),
    });
  }

  #get<T>(path: string, schema: v.GenericSchema<unknown, T>): Promise<T> {
    return this.#send("GET", path, schema);
  }

  async #send<T>(
    method: "GET" | "POST" | "PUT" | "DELETE",
    path: string,
    schema: v.GenericSchema<unknown, T>,
    body?: unknown,
  ): Promise<T> {
    const { home } = this.#options;
    return this.#parse(
      schema,
      await callAgent<unknown>(home.controlSocket, home.id, method, path, body),
      path,
    );
  }

  #parse<T>(schema: v.GenericSchema<unknown, T>, value: unknown, path: string): T {
    const parsed = v.safeParse(schema, value);
    if (parsed.success) return parsed.output;
    const issue = parsed.issues[0];
    const where = v.getDotPath(issue) ?? "the document";
    throw new HoldfastError(
      "failed",
      `the answer of agent ${this.home.id} to ${path} is not as this command line expects (${where}: ${issue.message}): are both of the same version?`,
    );
  }
}

function search(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text === "" ? "" : `?${text}`;
}
