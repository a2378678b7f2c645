/**
 * BSON's regular expressions, which are PCRE's, as JavaScript's.
 * @module
 */
import { BSONRegExp } from "bson";
import { CommandError } from "../errors.ts";
import { RANK, rankOf, regexParts } from "../values/compare.ts";

/** The regular expression of a `$regex` operand and its `$options`. */
export function regexOf(value: unknown, options?: unknown): BSONRegExp {
  if (options !== undefined && typeof options !== "string") {
    throw new CommandError("BadValue", "$options has to be a string");
  }
  if (rankOf(value) === RANK.regex) {
    const parts = regexParts(value);
    return new BSONRegExp(parts.pattern, options ?? parts.options);
  }
  if (typeof value !== "string") throw new CommandError("BadValue", "$regex has to be a string");
  return new BSONRegExp(value, options ?? "");
}

const compiled = new WeakMap<BSONRegExp, RegExp>();

/** A BSON regular expression as JavaScript's, which lacks PCRE's `x` option and inline options. */
export function toRegExp(regex: BSONRegExp): RegExp {
  const known = compiled.get(regex);
  if (known) return known;
  let { pattern } = regex;
  let flags = "";
  const inline = /^\(\?([ims]+)\)/.exec(pattern);
  if (inline) pattern = pattern.slice(inline[0].length);
  const options = regex.options + (inline?.[1] ?? "");
  for (const option of "ims") if (options.includes(option)) flags += option;
  for (const option of regex.options) {
    if (!"imsxul".includes(option)) {
      throw new CommandError("Location51108", `invalid flag in regex options: ${option}`);
    }
  }
  if (options.includes("x")) {
    pattern = pattern.replace(/\\.|\s+|#[^\n]*/g, (m) => m[0] === "\\" ? m : "");
  }
  let made: RegExp;
  try {
    made = new RegExp(pattern, `${flags}u`);
  } catch {
    try {
      made = new RegExp(pattern, flags);
    } catch (error) {
      throw new CommandError(
        "Location51091",
        `Regular expression is invalid: ${(error as Error).message}`,
      );
    }
  }
  compiled.set(regex, made);
  return made;
}
