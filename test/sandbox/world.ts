/** What attacks are aimed at: folders, listeners and processes that the harness made, and how they look afterwards. */
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import type { Attack, Language, Target } from "./attack.ts";
import { killStrays } from "./family.ts";
import { makePrograms } from "./attacks/execution.ts";

export interface Aimed {
  attack: Attack;
  language: Language;
  target: Target;
  /** What the harness can see of it from outside, before the attack. */
  before: { folder: string; victim: string };
}

export class World {
  readonly folder = mkdtempSync(join(tmpdir(), "holdfast-escape-"));
  readonly #heard = new Set<string>();
  readonly #tcp: Bun.TCPSocketListener;
  #udp!: Bun.udp.Socket<"buffer">;
  /** What runs the plugin host. */
  program = process.execPath;
  /** For how long a worker may say nothing; emulated machines need more. */
  patienceMs = 25_000;
  #made = 0;

  private constructor() {
    chmodSync(this.folder, 0o755);
    this.#tcp = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: this.#listener() });
  }

  static async open(): Promise<World> {
    const world = new World();
    world.#udp = await Bun.udpSocket({
      hostname: "127.0.0.1",
      socket: { data: (_socket, data) => world.#hear(data.toString()) },
    });
    return world;
  }

  close(): void {
    this.#tcp.stop(true);
    this.#udp.close();
    killStrays(this.folder);
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** A folder for code that workers may read. */
  codeFolder(): string {
    // Like data/plugins, whose names every plugin may list; the targets are elsewhere.
    const folder = join(this.folder, "plugins", `code-${this.#made++}`);
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o777);
    return folder;
  }

  aim(attack: Attack, language: Language, code: string): Aimed & Disposable {
    const folder = join(this.folder, `target-${this.#made++}`);
    mkdirSync(join(folder, "empty"), { recursive: true });
    const file = join(folder, "secret.txt");
    const secret = `secret-${crypto.randomUUID()}`;
    writeFileSync(file, secret);
    // Open to everybody: what refuses is the sandbox, never a file's mode.
    for (const path of [folder, join(folder, "empty")]) chmodSync(path, 0o777);
    chmodSync(file, 0o666);
    const needsVictim = JSON.stringify([attack.calls, attack.code?.sh, attack.code?.py]).includes("victim");
    const victim =
      needsVictim || String(attack.code?.ts).includes("victim")
        ? startVictim(join(folder, "empty"))
        : undefined;
    const target: Target = {
      id: `${attack.id}-${language}`,
      folder,
      file,
      secret,
      own: "",
      code,
      parent: process.pid,
      victim: victim?.pid ?? 0,
      victimMemory: victim ? stackOf(victim.pid) : 0,
      tcp: this.#tcp.port,
      udp: this.#udp.port,
      unix: join(folder, "socket"),
      abstract: createHash("sha1").update(folder).digest("hex").slice(0, 24),
      device: blockDevice(),
      program: this.program,
      hostname: hostname(),
    };
    if (attack.id.startsWith("exec.")) makePrograms(target);
    const listeners = attack.id.startsWith("net.unix") ? this.#unixListeners(target) : [];
    return {
      attack,
      language,
      target,
      before: { folder: "", victim: "" },
      [Symbol.dispose]: () => {
        for (const listener of listeners) listener.stop(true);
        victim?.kill("SIGKILL");
        if (attack.id === "kernel.mount")
          Bun.spawnSync(["umount", "-l", join(folder, "empty")], { stderr: "ignore" });
        rmSync(folder, { recursive: true, force: true });
      },
    };
  }

  /** Looks at the targets; right before the attacks begin, and when the code is in its place. */
  look(aimed: Aimed[]): void {
    for (const item of aimed) {
      this.#heard.delete(item.target.id);
      item.before = { folder: this.#look(item), victim: lookAtProcess(item.target.victim) };
    }
  }

  /** What shows from outside that the attack did what it is for; null when nothing does. */
  evidence(aimed: Aimed, said: string, exitCode: number | null, cpuShare: number): string | null {
    const { attack, target, before } = aimed;
    switch (attack.proof) {
      case "secret":
        return said.includes(target.secret) ? "it has the secret" : null;
      case "change":
        return this.#look(aimed) === before.folder ? null : "its target has changed";
      case "hello":
        return this.#heard.has(target.id) ? "a listener heard it" : null;
      case "victim":
        return lookAtProcess(target.victim) === before.victim ? null : "its victim has changed";
      case "exit":
        return exitCode === 42 ? "another program ran" : null;
      case "cpu":
        return cpuShare > MAX_SHARE ? `it used ${Math.round(cpuShare * 100)} % of a processor` : null;
      case "said":
        return said.startsWith("ESCAPED") ? said.slice(0, 120) : null;
    }
  }

  #look({ attack, target }: Aimed): string {
    const folder = lookAtFolder(target.folder);
    // All attacks of one worker share its code; only one of them is after it.
    return attack.id === "write.own-code" ? `${folder}\n${readFileSync(target.code, "latin1")}` : folder;
  }

  #hear(text: string): void {
    const id = /^(?:GET \/)?([a-z0-9.-]+)/.exec(text)?.[1];
    if (id !== undefined) this.#heard.add(id);
  }

  #listener() {
    return {
      data: (socket: { end(text: string): unknown }, data: Buffer) => {
        this.#hear(data.toString("latin1"));
        if (data.toString("latin1").startsWith("GET ")) {
          socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
      },
    };
  }

  #unixListeners(target: Target) {
    const listen = (unix: string) => Bun.listen({ unix, socket: this.#listener() });
    const listeners = [listen(target.unix), listen(`\0${target.abstract}`)];
    chmodSync(target.unix, 0o777);
    return listeners;
  }
}

/** Workers of the suite get half a processor. */
const MAX_SHARE = 0.65;

const VICTIM = ["sleep", "600"];

function startVictim(cwd: string): Bun.Subprocess {
  // A group of its own, so that an attack on the group reaches nobody else.
  return Bun.spawn(VICTIM, { cwd, detached: true, stdio: ["ignore", "ignore", "ignore"] });
}

const EXEC_LIMIT_MS = 20_000;

/** An address of a victim that can be read and written. */
function stackOf(pid: number): number {
  // `spawn` returns before the exec is through; until then this is the harness's memory, or a stack without its place.
  for (const end = performance.now() + EXEC_LIMIT_MS; performance.now() < end; Bun.sleepSync(1)) {
    const isVictim = readFileSync(`/proc/${pid}/cmdline`, "latin1").startsWith(`${VICTIM[0]}\0`);
    const line = readFileSync(`/proc/${pid}/maps`, "utf8")
      .split("\n")
      .find((item) => item.endsWith("[stack]"));
    if (isVictim && line !== undefined) return Number.parseInt(line.split("-")[1]!, 16) - 4096;
  }
  throw new Error(`process ${pid} did not become ${VICTIM.join(" ")}`);
}

/** Everything about a process that attacks try to change. */
export function lookAtProcess(pid: number): string {
  if (pid === 0) return "";
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return "dead";
    const files = /^Max open files.*$/m.exec(readFileSync(`/proc/${pid}/limits`, "utf8"))?.[0];
    const cpus = /^Cpus_allowed:.*$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[0];
    return `nice ${fields[16]}, policy ${fields[38]}, ${files}, ${cpus}`;
  } catch {
    return "dead";
  }
}

function lookAtFolder(folder: string): string {
  const names = readdirSync(folder, { recursive: true }).map(String).toSorted();
  const looks = names.map((name) => {
    const path = join(folder, name);
    const { mode, uid, gid, mtimeMs, size, nlink } = lstatSync(path);
    const kind = mode & 0o170000;
    const content = kind === 0o100000 ? readFileSync(path).toString("base64").slice(0, 200) : "";
    const link = kind === 0o120000 ? readlinkSync(path) : "";
    return [name, mode, uid, gid, kind === 0o100000 ? mtimeMs : 0, size, nlink, content, link].join();
  });
  return looks.join("\n");
}

function blockDevice(): string {
  for (const name of existsSync("/sys/class/block") ? readdirSync("/sys/class/block") : []) {
    if (/^(vd|sd|nvme|xvd)/.test(name) && existsSync(`/dev/${name}`)) return `/dev/${name}`;
  }
  return "/dev/vda";
}
