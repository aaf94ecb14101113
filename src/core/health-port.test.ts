import { afterAll, describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import { HoldfastError } from "./errors.ts";
import { type Check, startHealthPort } from "./health-port.ts";
import { Histogram } from "./histogram.ts";
import { renderMetrics } from "./metrics.ts";

const checks: Check[] = [{ name: "store", state: "ok" }];
const histogram = new Histogram([0.1, 1]);
for (const value of [0.05, 0.5, 5]) histogram.observe(value);
const options = {
  what: "the health port",
  listen: { host: "127.0.0.1", port: 0 },
  setting: "health.listen",
  checks: () => checks,
  summary: () => ({ id: "web-01" }),
  metrics: () =>
    renderMetrics([
      { name: "x_total", help: "x", type: "counter", values: [{ labels: { kind: "a" }, value: 2 }] },
      { name: "y", help: "y", type: "gauge", values: [{ value: 1.5 }] },
      { name: "z_seconds", help: "z", type: "histogram", histogram },
    ]),
};
const port = startHealthPort(options);
afterAll(() => port.stop());

describe("the health port", () => {
  test("is live and ready, and says more when asked", async () => {
    expect(await (await fetch(`${port.url}/livez`)).text()).toBe("ok\n");
    expect(await (await fetch(`${port.url}/readyz`)).text()).toBe("ready\n");
    expect(await (await fetch(`${port.url}/readyz?verbose`)).text()).toBe("[+]store ok\nready\n");
    expect(await (await fetch(`${port.url}/healthz`)).json()).toEqual({ status: "ok", id: "web-01", checks });
  });

  test("degraded is ready, failed is not", async () => {
    checks.push({ name: "sync", state: "degraded", reason: "hub unreachable" });
    expect((await fetch(`${port.url}/readyz`)).status).toBe(200);
    checks.push({ name: "workers", state: "failed", reason: "none" });
    const answer = await fetch(`${port.url}/readyz`);
    expect([answer.status, await answer.text()]).toEqual([
      503,
      "[+]store ok\n[~]sync degraded: hub unreachable\n[-]workers failed: none\nnot ready\n",
    ]);
    expect((await fetch(`${port.url}/livez`)).status).toBe(200);
    checks.length = 1;
  });

  test("serves Prometheus text", async () => {
    const text = await (await fetch(`${port.url}/metrics`)).text();
    expect(text).toContain('x_total{kind="a"} 2');
    expect(text).toContain("# TYPE z_seconds histogram");
    expect(text).toContain('z_seconds_bucket{le="1"} 2');
    expect(text).toContain('z_seconds_bucket{le="+Inf"} 3');
    expect(text).toContain("z_seconds_count 3");
  });

  test("refuses foreign hosts, other paths and other methods", async () => {
    expect((await fetch(`${port.url}/livez`, { headers: { host: "evil.example" } })).status).toBe(421);
    expect((await fetch(`${port.url}/status`)).status).toBe(404);
    expect((await fetch(`${port.url}/livez`, { method: "POST" })).status).toBe(405);
  });

  test("a port in use names its owner; an address that is not loopback is refused", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const number = (taken.address() as { port: number }).port;
    const start = (host: string, at: number) => () =>
      startHealthPort({ ...options, listen: { host, port: at } });
    expect(start("127.0.0.1", number)).toThrow(
      `cannot listen on 127.0.0.1:${number}: the port is in use by pid ${process.pid}`,
    );
    expect(start("0.0.0.0", 0)).toThrow(HoldfastError);
    taken.close();
  });
});
