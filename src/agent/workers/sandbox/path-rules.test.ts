import { expect, test } from "bun:test";
import { fewerRules } from "./path-rules.ts";

test("one rule a path, none below one that gives as much, and all that were granted", () => {
  expect(
    fewerRules([
      { path: "/usr", rights: ["list", "read"], follow: true },
      { path: "/usr/lib", rights: ["list", "read"], follow: true },
      { path: "/usr/lib/ld.so", rights: ["read", "execute"], follow: true },
      { path: "/usr", rights: ["read"], follow: true },
      { path: "/usr/share/mine", rights: ["read"] },
      { path: "/data", rights: ["list"] },
      { path: "/data", rights: ["read", "list"] },
      { path: "/usrlocal", rights: ["read"], follow: true },
    ]),
  ).toEqual([
    { path: "/usr", rights: ["list", "read"], follow: true },
    { path: "/usr/lib/ld.so", rights: ["read", "execute"], follow: true },
    { path: "/usr/share/mine", rights: ["read"] },
    { path: "/data", rights: ["list", "read"] },
    { path: "/usrlocal", rights: ["read"], follow: true },
  ]);
});
