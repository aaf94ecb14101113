import type { Config } from "../../model/config.ts";
import { readSharedParameter } from "../../model/shared-parameter.ts";
import type { SharedParameterInput } from "../../model/shared-parameter-schema.ts";
import type { FixedParameters } from "./parameters.ts";

/** The section `params` of the configuration. */
export function fixedParameters({ params }: Pick<Config, "params">): FixedParameters {
  const read = (values: Record<string, SharedParameterInput>) =>
    new Map(Object.entries(values).map(([name, input]) => [name, readSharedParameter(input)]));
  return {
    global: read(params.global),
    namespaces: new Map(Object.entries(params.namespaces).map(([name, values]) => [name, read(values)])),
  };
}
