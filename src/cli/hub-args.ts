import type { ArgsDef } from "citty";
import { defaultBase } from "../agent/config/home.ts";
import { HoldfastError } from "../core/errors.ts";
import { isLoopback, parseListen } from "../core/listen.ts";

export const HUB_HOME_ARGS = {
  home: {
    type: "string",
    valueHint: "DIR",
    description: "Folder that holds the hub (default: as the agent's)",
  },
  json: { type: "boolean", description: "Print JSON" },
} as const satisfies ArgsDef;

export const HUB_LISTEN_ARGS = {
  listen: { type: "string", valueHint: "HOST:PORT", description: "Where agents connect (0.0.0.0:8443)" },
  api: { type: "string", valueHint: "HOST:PORT", description: "REST API, loopback only (127.0.0.1:8442)" },
  health: {
    type: "string",
    valueHint: "HOST:PORT",
    description: "Health port, loopback only (127.0.0.1:9111)",
  },
  name: {
    type: "string",
    valueHint: "NAME",
    description: "Host name or address that agents call this hub by; may be given several times",
  },
} as const satisfies ArgsDef;

/** The folder that a hub's home lies in. */
export function hubBase(home: string | undefined): string {
  return home ?? defaultBase(process.env, process.getuid?.());
}

/** Every value of `--name`, of which the parser keeps only the last. */
export function namesFrom(rawArgs: string[], pattern: RegExp): string[] {
  const names: string[] = [];
  for (const [index, arg] of rawArgs.entries()) {
    if (arg === "--name" && rawArgs[index + 1] !== undefined) names.push(rawArgs[index + 1]!);
    else if (arg.startsWith("--name=")) names.push(arg.slice("--name=".length));
  }
  for (const name of names) {
    if (!pattern.test(name)) {
      throw new HoldfastError(
        "usage",
        `--name: "${name}" is no host name or address, like hub.example or 10.0.0.5`,
      );
    }
  }
  return [...new Set(names)];
}

/** Checks an address flag, so that a mistake is told before anything is made. */
export function listenFlag(
  flag: string,
  value: string | undefined,
  loopbackOnly: boolean,
): string | undefined {
  if (value === undefined) return undefined;
  const { host } = parseListen(value);
  if (loopbackOnly && !isLoopback(host)) {
    throw new HoldfastError(
      "usage",
      `--${flag} must be a loopback address, like 127.0.0.1:PORT, not ${host}: reach it through an SSH tunnel`,
    );
  }
  return value;
}
