/** What the write commands share. @module */
import type { Doc } from "../values/bson_view.ts";
import { CommandError } from "../errors.ts";
import { MAX_WRITE_BATCH } from "../limits.ts";

/** One entry of `writeErrors`: the failure of the statement at `index`. */
export function writeError(index: number, error: CommandError): Doc {
  const { code, message, extra } = error;
  return { index, code, errmsg: message, ...extra };
}

/** Refuse an empty or an oversized batch of statements. */
export function checkBatch(length: number): void {
  if (length === 0 || length > MAX_WRITE_BATCH) {
    throw new CommandError(
      "InvalidLength",
      `Write batch sizes must be between 1 and ${MAX_WRITE_BATCH}. Got ${length} operations.`,
    );
  }
}
