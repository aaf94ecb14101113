import { describe, expect, test } from "bun:test";
import { parseHubConfig, renderHubConfig } from "./config.ts";

const parse = (text: string) => parseHubConfig(text, "hub.yaml");

describe("hub.yaml", () => {
  test("what init writes is read back", () => {
    const config = {
      sync: { listen: "0.0.0.0:8443" },
      api: { listen: "127.0.0.1:8442" },
      health: { listen: "[::1]:0" },
      names: ["hub.example", "10.0.0.5", "::1"],
    };
    expect(parse(renderHubConfig(config))).toEqual({ ...config, log: { level: "info" } });
  });

  test("has defaults for all but the names", () => {
    expect(parse("names: [hub.example]")).toEqual({
      sync: { listen: "0.0.0.0:8443" },
      api: { listen: "127.0.0.1:8442" },
      health: { listen: "127.0.0.1:9111" },
      names: ["hub.example"],
      log: { level: "info" },
    });
  });

  test("may bound how fast agents send their backlog", () => {
    const text = (rate: string) => `names: [a]\nsync: { backlog: { rate: ${rate} } }`;
    expect(parse(text("256KB")).sync).toEqual({ listen: "0.0.0.0:8443", backlog: { rate: "256KB" } });
    for (const rate of ["0KB", "fast", '"10"']) {
      expect(() => parse(text(rate))).toThrow("sync.backlog.rate must be a size, like 256KB or 1MB");
    }
  });

  test("a broker in the hub, or one outside", () => {
    const mqtt = (text: string) => parse(`names: [hub]\nmqtt: ${text}`).mqtt;
    expect(parse("names: [hub]").mqtt).toBeUndefined();
    expect(mqtt("{ listen: 0.0.0.0:8883 }")).toEqual({ listen: "0.0.0.0:8883" });
    const outside = { broker: "mqtts://broker.example:8883", ca: "/a", certificate: "/b", key: "/c" };
    expect(mqtt(JSON.stringify(outside))).toEqual(outside);
    expect(() => mqtt("{}")).toThrow("mqtt must have either listen");
    expect(() => mqtt("{ listen: a:1, broker: mqtt://b }")).toThrow("mqtt must have either listen");
    expect(() => mqtt("{ broker: https://b }")).toThrow("mqtt.broker must be mqtts://HOST:PORT");
    expect(() => mqtt("{ broker: mqtt://b, key: /c }")).toThrow("certificate and key together");
    expect(() => mqtt("{ listen: a:1, ca: /c }")).toThrow("only for a broker outside");
    expect(() => mqtt("{ brokr: mqtt://b }")).toThrow("did you mean broker?");
  });

  test("tells every problem with its place and the nearest name", () => {
    const text =
      "names: [hub, 'a b']\napi: { lisen: 1.2.3.4:5 }\nsync:\n  listen: here\nlog: { level: loud }\nhelth: {}\n";
    expect(() => parse(text)).toThrow(
      [
        "The hub's configuration is not valid:",
        'hub.yaml:1:14: names.1 must be a host name or an IP address, not "a b"',
        "hub.yaml:2:1: api.listen is missing",
        "hub.yaml:2:8: unknown key api.lisen; did you mean listen?",
        'hub.yaml:4:3: sync.listen must be HOST:PORT, like 127.0.0.1:8442, not "here"',
        'hub.yaml:5:8: log.level must be one of debug, info, warn, error, not "loud"',
        "hub.yaml:6:1: unknown key helth; did you mean health?",
      ].join("\n"),
    );
  });

  test.each([
    ["no names", "log: { level: info }", "names is missing"],
    ["an empty file", "", "names is missing"],
    [
      "an alias bomb",
      "a: &a [x]\nnames: [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a]",
      "hub.yaml:1:1: Excessive alias count",
    ],
    ["an empty list", "names: []", "names must have at least one name"],
    ["a list", "[1]", "hub.yaml:1:1: the file must be a map of settings"],
    ["a duplicate key", "names: [a]\nnames: [b]", "hub.yaml:2:1: Map keys must be unique"],
    ["broken YAML", "names: [a", "hub.yaml:1"],
    ["a huge file", `# ${"x".repeat(70_000)}`, "65536 are allowed"],
  ])("refuses %s", (_name, text, message) => {
    expect(() => parse(text)).toThrow(message);
  });
});
