/** Whatever is asked and whatever is allowed: `narrow` never grants what the policy does not allow. */
import { expect, test } from "bun:test";
import * as v from "valibot";
import { decideGrant } from "./grant-decision.ts";
import type { Endpoint } from "./grant.ts";
import { permissionsSchema, resourcesSchema } from "./permissions.ts";
import { policySchema } from "./policy.ts";

const ROUNDS = 1_000;

/** Numerical Recipes' linear congruential generator: the same cases in each run. */
function random(seed: number) {
  let state = seed >>> 0;
  return (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const PATHS = ["/", "/a", "/a/b", "/a/b/c", "/a/bc", "/d", "/d/link", "/usr/bin", "/usr/bin/x", "/bin/x"];
/** Everything is there; one link leads from /d to /a/b. */
const realpath = (path: string) => ({
  path: path === "/d/link" ? "/a/b" : path,
  kind: /(x|c)$/.test(path) ? ("file" as const) : ("folder" as const),
});
const NAMES = ["a", "ab", "abc", "b", "a*", "*b", "a*c", "*", "a.b", "a*b*c"];
const HOSTS = ["*", "*.org", "*.a.org", "a.org", "b.a.org", "org", "10.0.0.1"];
const OPERATIONS = [
  "reboot",
  "journal.read",
  "journal.read:a.service",
  "systemd.restart:a*",
  "systemd.restart:ab.service",
  "systemd.start:*",
];

test(`${ROUNDS} random wishes and policies`, () => {
  const below = random(20_261_121);
  const some = <T>(items: T[]) => Array.from({ length: below(4) }, () => items[below(items.length)]!);
  const endpoints = () => some(HOSTS).map((host) => `${host}:${["*", "80", "443"][below(3)]}`);
  const wish = () => ({
    read: some([...PATHS, "@system"]),
    write: some(PATHS),
    exec: some([...PATHS, "@system"]),
    connect: endpoints(),
    udp: endpoints(),
    listen: some([80, 443, 8080]),
    icmp: below(2) === 0,
    unix: some(PATHS.filter((path) => realpath(path).kind === "file")),
    env: some(["A", "B", "C"]),
    secrets: some(NAMES),
    memory: some(NAMES),
    namespaces: some(NAMES),
    host: some(OPERATIONS),
  });
  const resources = () =>
    v.parse(resourcesSchema, {
      memory: `${1 + below(400)}MB`,
      cpu: (1 + below(20)) / 10,
      openFiles: 16 + below(500),
    });
  let granted = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const [asked, allowed, most] = [wish(), wish(), resources()];
    const operations = some(OPERATIONS);
    const grants = [{ plugins: ["p"], permissions: allowed, resources: most }];
    const decision = decideGrant({
      name: "p",
      permissions: v.parse(permissionsSchema, asked),
      resources: resources(),
      settings: {},
      policy: v.parse(policySchema, { plugins: { on_more: "narrow", grants }, host: { operations } }),
      places: { home: "/home", protectedWrite: [], protectedRead: [], protectedUnix: [] },
      realpath,
    });
    if (decision.kind === "refused") throw new Error(decision.reasons.join("\n"));
    const { grant } = decision;
    granted += grant.read.length + grant.connect.length + grant.secrets.length + grant.host.length;
    for (const kind of ["read", "write", "exec", "unix"] as const) {
      for (const path of grant[kind]) {
        if (!allowed[kind].some((each) => isInside(path, each))) fail(round, "more than both allow");
        if (!asked[kind].some((each) => isInside(path, each))) fail(round, "more than both allow");
      }
    }
    for (const kind of ["connect", "udp"] as const) {
      for (const host of ["a.org", "b.a.org", "c.org", "org", "10.0.0.1", "x.test"]) {
        for (const port of [80, 443, 22]) {
          const reached = grant[kind].some((each) => reaches(each, host, port));
          const both = [asked[kind], allowed[kind]].every((texts) =>
            texts.some((text) => reachesText(text, host, port)),
          );
          // Not only no more, but also no less: the two lists meet exactly.
          if (reached !== both) fail(round, `${kind} ${host}:${port}`);
        }
      }
    }
    for (const kind of ["secrets", "memory", "namespaces"] as const) {
      for (const name of ["a", "b", "ab", "abc", "axc", "a.b", "xb", "zz", "aXbXc"]) {
        if (!grant[kind].some((each) => glob(each).test(name))) continue;
        if (!allowed[kind].some((each) => glob(each).test(name))) fail(round, "more than both allow");
        if (!asked[kind].some((each) => glob(each).test(name))) fail(round, "more than both allow");
      }
    }
    for (const name of [
      "reboot:",
      "journal.read:a.service",
      "journal.read:b.service",
      "systemd.restart:ab.service",
      "systemd.restart:x.service",
      "systemd.start:a.service",
    ]) {
      if (!grant.host.some((each) => operation(each).test(name))) continue;
      for (const list of [operations, allowed.host, asked.host])
        if (!list.some((each) => operation(each).test(name))) fail(round, "more than both allow");
    }
    if (!grant.env.every((name) => allowed.env.includes(name) && asked.env.includes(name)))
      fail(round, "more than both allow");
    expect(grant.listen.every((port) => allowed.listen.includes(port) && asked.listen.includes(port))).toBe(
      true,
    );
    expect(grant.icmp && !(allowed.icmp && asked.icmp)).toBe(false);
    expect(grant.resources.cpu).toBeLessThanOrEqual(most.cpu!);
    expect(grant.resources.memory).toBeLessThanOrEqual(Number.parseInt(most.memory!) * 1024 ** 2);
    expect(grant.resources.openFiles).toBeLessThanOrEqual(most.openFiles!);
  }
  // A property of empty grants would say nothing.
  expect(granted).toBeGreaterThan(ROUNDS);
});

/** Thrown, not expected: a hundred thousand expectations take longer than all the rest. */
function fail(round: number, what: string): never {
  throw new Error(`round ${round}: ${what}`);
}

function isInside(path: string, folder: string): boolean {
  if (folder === "@system") return path === "@system" || /^\/(usr|bin)(\/|$)/.test(path);
  const real = realpath(folder).path;
  return real === "/" || path === real || path.startsWith(`${real}/`);
}

function reachesText(text: string, host: string, port: number): boolean {
  const [name, number] = text.split(":");
  return reaches({ host: name!, port: number === "*" ? null : Number(number) }, host, port);
}

function reaches(endpoint: Endpoint, host: string, port: number): boolean {
  if (endpoint.port !== null && endpoint.port !== port) return false;
  if (endpoint.host === "*" || endpoint.host === host) return true;
  return endpoint.host.startsWith("*.") && host.endsWith(endpoint.host.slice(1));
}

function glob(pattern: string): RegExp {
  const parts = pattern.split("*").map((part) => part.replace(/[.\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`);
}

function operation(text: string): RegExp {
  return glob(text.includes(":") ? text : text === "journal.read" ? `${text}:*` : `${text}:`);
}
