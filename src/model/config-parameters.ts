import * as v from "valibot";
import { described, namespace } from "./config-fields.ts";
import { PARAMETER_NAME } from "./shared-parameter.ts";
import { sharedParameterSchema } from "./shared-parameter-schema.ts";

const sharedParameters = v.record(
  v.pipe(v.string(), v.regex(PARAMETER_NAME, "a parameter's name")),
  sharedParameterSchema,
);

export const parametersSection = described(
  v.optional(
    v.strictObject({
      global: v.optional(sharedParameters, {}),
      namespaces: v.optional(v.record(namespace, sharedParameters), {}),
    }),
    {},
  ),
  "Parameters that pipelines find without being given them: for all, and by namespace, which wins",
);
