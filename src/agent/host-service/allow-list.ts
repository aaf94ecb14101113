import * as v from "valibot";

const uid = v.pipe(v.number(), v.integer("a whole number"), v.minValue(0), v.maxValue(0xffff_fffe));
const user = v.pipe(
  v.string(),
  v.regex(/^[a-zA-Z_][a-zA-Z0-9_.-]{0,31}\$?$/, "a user's name, like holdfast"),
);

/** `host-operations.yaml`: who may ask the privileged service, and for what. */
export function allowListSchema(entryProblem: (entry: string) => string | null) {
  const operation = v.pipe(
    v.string(),
    v.maxLength(300),
    v.check(
      (entry) => entryProblem(entry) === null,
      // The message is for this entry, the reason with it.
      (issue) => entryProblem(issue.input) ?? "an operation",
    ),
  );
  return v.pipe(
    v.strictObject({
      uids: v.optional(v.pipe(v.array(uid), v.maxLength(100)), []),
      users: v.optional(v.pipe(v.array(user), v.maxLength(100)), []),
      operations: v.pipe(v.array(operation), v.maxLength(1000)),
      simulate: v.optional(v.boolean(), false),
    }),
    v.check(({ uids, users }) => uids.length + users.length > 0, "at least one of uids and users"),
  );
}

export type AllowListFile = v.InferOutput<ReturnType<typeof allowListSchema>>;

/** With users turned into numbers. */
export interface AllowList {
  uids: Set<number>;
  operations: string[];
  simulate: boolean;
}

/** `passwd` is the text of /etc/passwd. Gives the names that are not in it beside the list. */
export function resolveUsers(file: AllowListFile, passwd: string): { list: AllowList; unknown: string[] } {
  const known = new Map(
    passwd.split("\n").map((line) => {
      const [name, , uid] = line.split(":");
      return [name, Number(uid)] as const;
    }),
  );
  const unknown = file.users.filter((name) => !known.has(name));
  const named = file.users.flatMap((name) => known.get(name) ?? []);
  const list = {
    uids: new Set([...file.uids, ...named]),
    operations: file.operations,
    simulate: file.simulate,
  };
  return { list, unknown };
}
