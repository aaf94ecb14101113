import * as v from "valibot";

/** A value, or what is said about it; an object stands in `value`. */
export const sharedParameterSchema = v.union([
  v.string(),
  v.number(),
  v.boolean(),
  v.array(v.any()),
  v.strictObject({ value: v.any(), secret: v.optional(v.boolean(), false) }),
]);
export type SharedParameterInput = v.InferOutput<typeof sharedParameterSchema>;
