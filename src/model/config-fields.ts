import * as v from "valibot";
import { isDuration } from "../core/duration.ts";
import { RESERVED_NAMESPACE } from "./namespace.ts";

export const NAME = /^[a-zA-Z0-9][\w.:-]{0,127}$/;

export const described = <T extends v.GenericSchema>(schema: T, description: string) =>
  v.pipe(schema, v.description(description)) as unknown as T;

export const duration = v.pipe(
  v.string(),
  v.check(isDuration, "a duration: a number and a unit, like 250ms, 30s, 5m, 1h"),
);
export const size = v.pipe(
  v.string(),
  v.regex(/^\d+(B|KB|MB|GB)$/, "a size: a number and a unit, like 64KB, 100MB"),
);
export const name = v.pipe(v.string(), v.regex(NAME, "a name: letters, digits and _ . : -, at most 128"));
/** Settings of a plugin: the plugin says what may be in them. */
export const settings = v.record(v.string(), v.any());
/** A whole number from 1. */
export const count = (max: number) => v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(max));
export const oneOrMany = (item: v.GenericSchema<string>) => v.union([item, v.array(item)]);
/** Of what people name things in: whose memory, parameters, secrets and locks. */
export const namespace = v.pipe(
  name,
  v.check(
    (text) => text !== RESERVED_NAMESPACE,
    `another namespace: ${RESERVED_NAMESPACE} is the agent's own`,
  ),
);
export const cel = (description: string) => v.pipe(v.string(), v.minLength(1), v.description(description));
export const priority = v.pipe(v.number(), v.integer(), v.minValue(-1000), v.maxValue(1000));
