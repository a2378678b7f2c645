/**
 * An entry of `event-handlers.json`: which handler runs, and what it may do.
 * @module
 */
import * as v from "valibot";

const words = v.array(v.pipe(v.string(), v.nonEmpty()));
const permission = v.union([v.boolean(), words]);

/** The form of an entry. Other keys than these are ignored, as files of existing installations may have them. */
export const entrySchema = v.object({
  driver: v.pipe(v.string(), v.nonEmpty()),
  handler: v.pipe(v.string(), v.nonEmpty()),
  /** At most one execution of this handler at a time, over all workers. */
  exclusive: v.optional(v.boolean()),
  /** Environment variables that the handler sees; a command and a Python function see PATH, HOME and LANG besides. */
  env: v.optional(v.array(v.pipe(v.string(), v.regex(/^[^=\0]+$/, "expected a variable's name")))),
  /** What a `func` handler may do; nothing without. */
  permissions: v.optional(v.strictObject({
    env: v.optional(permission),
    ffi: v.optional(permission),
    import: v.optional(permission),
    net: v.optional(permission),
    read: v.optional(permission),
    run: v.optional(permission),
    sys: v.optional(permission),
    write: v.optional(permission),
  })),
});

/** One handler of an event. */
export type Entry = v.InferOutput<typeof entrySchema>;
