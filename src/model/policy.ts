import * as v from "valibot";
import { operationSchema, permissionsSchema, resourcesSchema } from "./permissions.ts";

const pattern = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9*][a-z0-9._*-]{0,127}$/, "a plugin's name, or a pattern with *"),
);
const patterns = v.pipe(v.array(pattern), v.maxLength(1000));

/** The widest that plugins of these names may get. What a list leaves out is not granted; an absent list is no limit. */
export const grantRuleSchema = v.strictObject({
  plugins: v.pipe(patterns, v.minLength(1)),
  permissions: v.optional(v.partial(permissionsSchema)),
  resources: v.optional(resourcesSchema),
  /** When a plugin asks for more. */
  on_more: v.optional(v.picklist(["refuse", "narrow"])),
  sandbox: v.optional(v.picklist(["on", "strict", "off"])),
});

/** `policy.yaml`: what may run on this host. Local, never changed from the hub. */
export const policySchema = v.strictObject({
  /** `strict` runs nothing unless all four levels are enforced; `off` confines nothing. */
  sandbox: v.optional(v.picklist(["on", "strict", "off"]), "on"),
  plugins: v.optional(
    v.strictObject({
      /** When not empty, only these. */
      allow: v.optional(patterns, []),
      /** Wins over everything. */
      block: v.optional(patterns, []),
      on_more: v.optional(v.picklist(["refuse", "narrow"]), "refuse"),
      /** The first rule with a matching name counts; a plugin without one gets what it asks for. */
      grants: v.optional(v.pipe(v.array(grantRuleSchema), v.maxLength(1000)), []),
    }),
    {},
  ),
  secrets: v.optional(
    v.strictObject({
      /** Secrets that may stand in the environment of a script whose manifest asks for it; names, patterns with `*`. */
      environment: v.optional(permissionsSchema.entries.secretEnv, []),
    }),
    {},
  ),
  host: v.optional(
    v.strictObject({
      /** Host operations that any plugin may be granted, `operation:object` with `*`. */
      operations: v.optional(v.pipe(v.array(operationSchema), v.maxLength(1000)), []),
      /** Says what would be done, and does nothing. */
      simulate: v.optional(v.boolean(), false),
    }),
    {},
  ),
});
export type Policy = v.InferOutput<typeof policySchema>;
export type GrantRule = v.InferOutput<typeof grantRuleSchema>;

/** What counts where no policy file is. */
export const DEFAULT_POLICY: Policy = v.parse(policySchema, {});
