/** A hub and agents of the compiled executable for `holdfast verify`, and what both verifiers say of their stores. */
import { Database } from "bun:sqlite";
import { appendFileSync, copyFileSync, cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ourVerdicts, pythonVerdicts, type Verdicts } from "../verifier/verifiers.ts";
import {
  buildExecutable,
  freePort,
  type Holdfast,
  runHoldfast,
  startHoldfast,
  temporaryHome,
  until,
} from "./harness.ts";

export interface Verified {
  exit: number | string;
  streams: Record<string, any>[];
  summary: Record<string, any>;
}

export class VerifyWorld {
  readonly base: string = temporaryHome();
  readonly hubHome: string = join(this.base, "hub-home");
  readonly hubFile: string = join(this.hubHome, "hub", "data", "hub.db");
  hub!: Holdfast;
  executable!: string;
  #api!: string;
  #url!: string;
  #pin!: string;
  #listen!: string[];
  #exports = 0;
  readonly #tokenFile = join(this.base, "admin.token");

  async start(): Promise<void> {
    this.executable = await buildExecutable();
    const [grpc, api, health] = await Promise.all([freePort(), freePort(), freePort()]);
    const at = (port: number) => `127.0.0.1:${port}`;
    this.#listen = ["--listen", at(grpc), "--api", at(api), "--health", at(health)];
    this.#api = `http://${at(api)}`;
    this.#url = `grpcs://${at(grpc)}`;
    const made = ["hub", "init", "--home", this.hubHome, ...this.#listen, "--name", "127.0.0.1"];
    const { pin } = await this.json([...made, "--token-file", this.#tokenFile, "--json"]);
    this.#pin = pin as string;
    await this.startHub();
  }

  async startHub(): Promise<void> {
    this.hub = await startHoldfast(this.executable, [
      "hub",
      "run",
      "--home",
      this.hubHome,
      ...this.#listen,
      "--json",
    ]);
  }

  /** Runs a command that has to succeed and prints one JSON document. */
  async json(args: string[]): Promise<Record<string, unknown>> {
    const done = await runHoldfast(this.executable, args);
    if (done.exitCode !== 0) throw new Error(`holdfast ${args.join(" ")}: ${done.exitCode}\n${done.stderr}`);
    return JSON.parse(done.stdout) as Record<string, unknown>;
  }

  async enroll(id: string, sync = ""): Promise<VerifyAgent> {
    const asked = ["token", "create", "--hub", this.#api, "--token-file", this.#tokenFile, "--json"];
    const { token } = await this.json(asked);
    const home = join(this.base, id);
    const args = [
      "agent",
      "enroll",
      "--home",
      home,
      "--id",
      id,
      "--hub",
      this.#url,
      "--token",
      token as string,
    ];
    const enrolled = await runHoldfast(this.executable, [...args, "--ca-pin", this.#pin]);
    if (enrolled.exitCode !== 0) throw new Error(enrolled.stderr);
    const agent = new VerifyAgent(this, home, id);
    writeFileSync(agent.log, "");
    mkdirSync(join(agent.root, "config", "conf.d"), { recursive: true });
    writeFileSync(
      join(agent.root, "config", "conf.d", "test.yaml"),
      `triggers:\n  - { name: app, plugin: file-tail, with: { path: app.log, from: start } }\n${sync}`,
    );
    return agent;
  }

  /** `holdfast verify` with its export, which the other verifier must say the same of. */
  async verify(args: string[]): Promise<Verified> {
    const file = join(this.base, `export-${this.#exports++}.jsonl`);
    const done = await runHoldfast(this.executable, ["verify", ...args, "--json", "--export", file]);
    const lines = done.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, any>);
    if (!existsSync(file)) throw new Error(`nothing was exported: ${done.stderr}`);
    const [ours, [python]] = await Promise.all([ourVerdicts(file), pythonVerdicts([file])]);
    requireSame(ours, python ?? null);
    const summary = lines.pop()!;
    if (ours!.whole !== summary.ok && summary.projections?.length === 0)
      throw new Error("the export differs");
    return { exit: done.exitCode, streams: lines, summary };
  }

  verifyHub(agent?: string, home = this.hubHome): Promise<Verified> {
    return this.verify(["--hub", "--home", home, ...(agent === undefined ? [] : ["--agent", agent])]);
  }

  /** A copy of the hub as it stands, beside it: what is done to it harms nobody. */
  copyOfHub(name: string): { home: string; database: Database } {
    const home = join(this.base, name);
    const [from, to] = [join(this.hubHome, "hub"), join(home, "hub")];
    mkdirSync(join(to, "data"), { recursive: true });
    for (const folder of ["config", "certificates"])
      cpSync(join(from, folder), join(to, folder), { recursive: true });
    const running = new Database(this.hubFile, { readonly: true });
    const file = join(to, "data", "hub.db");
    running.run("VACUUM INTO ?", [file]);
    running.close();
    return { home, database: new Database(file) };
  }

  /** The events that the hub has of an agent. */
  eventsOf(agent: string): number {
    const database = new Database(this.hubFile, { readonly: true });
    const row = database
      .query("SELECT count(*) AS n FROM events WHERE agent = ? AND type = 'log.line'")
      .get(agent);
    database.close();
    return (row as { n: number }).n;
  }
}

export class VerifyAgent {
  readonly root: string;
  readonly log: string;
  readonly file: string;
  process: Holdfast | undefined;
  written = 0;

  constructor(
    readonly world: VerifyWorld,
    readonly home: string,
    readonly id: string,
  ) {
    this.root = join(home, `agent-${id}`);
    this.log = join(this.root, "app.log");
    this.file = join(this.root, "data", "state", "agent.db");
  }

  async start(): Promise<void> {
    const args = ["agent", "run", "--home", this.home, "--id", this.id, "--json"];
    this.process = await startHoldfast(this.world.executable, args, {
      HOLDFAST__HEALTH__LISTEN: "127.0.0.1:0",
    });
  }

  async stop(): Promise<void> {
    await this.process?.stop();
    this.process = undefined;
  }

  write(lines: number): void {
    const text = Array.from({ length: lines }, () => `line ${this.written++} of ${this.root}: all is well\n`);
    appendFileSync(this.log, text.join(""));
  }

  verify(): Promise<Verified> {
    return this.world.verify(["--home", this.home, "--id", this.id]);
  }

  /** Waits until the hub has signed for every row that was written. */
  async settled(lines: number): Promise<void> {
    await until(
      `${this.id}: ${lines} lines in the store, and the hub's receipt for them`,
      () => this.#settled(lines),
      120_000,
    );
  }

  /** Rows that loss records stand for. */
  lost(): number {
    const database = new Database(this.file, { readonly: true });
    const sql =
      "SELECT coalesce(sum((body ->> 'last') - (body ->> 'first') + 1), 0) AS n FROM outbox WHERE class = 9";
    const { n } = database.query(sql).get() as { n: number };
    database.close();
    return n;
  }

  #settled(lines: number): boolean {
    const database = new Database(this.file, { readonly: true });
    try {
      const { n } = database.query("SELECT count(*) AS n FROM events WHERE type = 'log.line'").get() as {
        n: number;
      };
      const { open } = database
        .query(
          `SELECT count(*) AS open FROM streams LEFT JOIN receipts USING (epoch, lane, segment)
            WHERE streams.epoch = (SELECT json_extract(value, '$') FROM meta WHERE key = 'epoch')
              AND last > coalesce(receipts.number, 0)`,
        )
        .get() as { open: number };
      return n >= lines && open === 0;
    } finally {
      database.close();
    }
  }

  /** The store as it is now; the agent must not run. */
  backup(): string {
    const path = `${this.file}.backup`;
    copyFileSync(this.file, path);
    return path;
  }

  restore(path: string): void {
    for (const end of ["-wal", "-shm"]) rmSync(`${this.file}${end}`, { force: true });
    copyFileSync(path, this.file);
  }

  /** The same disk in another place, with a log of its own. */
  clone(name: string): VerifyAgent {
    const home = join(this.world.base, name);
    cpSync(this.home, home, { recursive: true, filter: (path) => !path.endsWith(".sock") });
    const clone = new VerifyAgent(this.world, home, this.id);
    clone.written = this.written;
    // For its trigger it is another file than the one that was copied.
    writeFileSync(clone.log, "");
    return clone;
  }
}

function requireSame(ours: Verdicts | null, python: Verdicts | null): void {
  if (Bun.deepEquals(ours, python)) return;
  throw new Error(
    `the verifiers differ:\n${JSON.stringify(ours, null, 1)}\n${JSON.stringify(python, null, 1)}`,
  );
}
