/**
 * BSON's regular expressions, matched in time that grows with the text only: a client's pattern must not stop the store.
 * @module
 */
import { BSONRegExp } from "bson";
import type { RE2JS } from "re2js";
import { CommandError } from "../errors.ts";
import { isDoc, RANK, rankOf, regexParts } from "../values/compare.ts";
import { translate } from "./pattern_syntax.ts";

type Re2 = typeof RE2JS;
let re2: Re2 | undefined;

/** Load the engine, which takes some milliseconds that no start should wait for. */
export async function loadRegexEngine(): Promise<void> {
  re2 ??= (await import("re2js")).RE2JS;
}

/** True when patterns of a value cannot be compiled before `loadRegexEngine()`. */
export function needsRegexEngine(value: unknown): boolean {
  return re2 === undefined && hasPattern(value);
}

function hasPattern(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.some(hasPattern);
  if (!isDoc(value)) return rankOf(value) === RANK.regex;
  return Object.keys(value).some((name) =>
    name === "$regex" || name === "$jsonSchema" || hasPattern(value[name])
  );
}

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
  if (options !== undefined) checkOptions(options);
  return new BSONRegExp(value, options ?? "");
}

/** Throw 51108 for an option that regular expressions do not have. */
export function checkOptions(options: string): void {
  const unknown = [...options].find((option) => !"imsxul".includes(option));
  if (unknown === undefined) return;
  throw new CommandError("Location51108", `invalid flag in regex options: ${unknown}`);
}

/** A compiled regular expression. */
export interface Pattern {
  /** Does it match anywhere in a text? */
  test(text: string): boolean;
  /** All matches, one after another, as `String.matchAll` gives them. */
  matchAll(text: string): Iterable<RegExpMatchArray>;
}

/** PCRE's limit, in UTF-16 units here. */
const MAX_LENGTH = 32_764;
/** Instructions of the compiled program times characters of the text: some seconds, at the worst. */
const MAX_STEPS = 500_000_000;
/** Matches below so many steps are not timed: that would take longer than they do. */
const UNTIMED_STEPS = 1000;
/** Milliseconds to compile a pattern that are no matter: a usual one takes 0.05, and many commands have many. */
const QUICK_COMPILE = 0.5;
/** Milliseconds that a command may spend on patterns at a pace below `MIN_PACE`. */
const MAX_SLOW = 1000;
/** Characters a millisecond: a tenth of what a pattern usually does. */
const MIN_PACE = 10_000;

/** Time and characters that the present command has spent on patterns. */
const spent = { milliseconds: 0, characters: 0 };

/** A command begins: it has all its time for patterns before it. */
export function resetPatternTime(): void {
  spent.milliseconds = 0;
  spent.characters = 0;
}

function tooMuch(): CommandError {
  return new CommandError(
    "Location51156",
    "Error occurred while executing the regular expression: it takes too long on this data",
  );
}

/**
 * Match or compile, and throw when patterns take too much of the command's time.
 * @param characters how far the work came in its text
 * @param quick milliseconds that are no matter, however often
 */
function timed<T>(work: () => T, characters: (result: T) => number, quick = 0): T {
  const start = performance.now();
  const result = work();
  const took = performance.now() - start;
  if (took < quick) return result;
  spent.milliseconds += took;
  spent.characters += characters(result);
  const { milliseconds } = spent;
  if (milliseconds > MAX_SLOW && spent.characters / milliseconds < MIN_PACE) throw tooMuch();
  return result;
}

const compiled = new WeakMap<BSONRegExp, Pattern>();

/**
 * Compile a regular expression.
 * @throws CommandError 51091 for a pattern that is none, or that cannot be matched in bounded time; 51156 when the command
 *   has spent all its time
 */
export function compilePattern(regex: BSONRegExp): Pattern {
  let pattern = compiled.get(regex);
  if (!pattern) {
    pattern = timed(() => makePattern(regex), () => regex.pattern.length, QUICK_COMPILE);
    compiled.set(regex, pattern);
  }
  return pattern;
}

function makePattern({ pattern, options }: BSONRegExp): Pattern {
  if (!re2) throw new Error("The engine of regular expressions is not loaded");
  const invalid = (why: string) =>
    new CommandError("Location51091", `Regular expression is invalid: ${why}`);
  if (pattern.length > MAX_LENGTH) throw invalid("the pattern is too long");
  try {
    const translated = translate(pattern, options);
    const main = program(re2, translated.pattern, options);
    const conditions = translated.conditions
      .map(({ pattern, negated }) => ({ ...program(re2!, pattern, options), negated }));
    const allowed = (text: string) =>
      conditions.every((condition) => condition.test(text) !== condition.negated);
    return {
      test: conditions.length ? (text) => main.test(text) && allowed(text) : main.test,
      matchAll: (text) => allowed(text) ? main.matchAll(text) : [],
    };
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw invalid((error as Error).message.replace("error parsing regexp: ", ""));
  }
}

/** One program of RE2, its matches bounded. */
function program(engine: Re2, pattern: string, options: string): Pattern {
  let flags = engine.LOOKBEHINDS;
  if (options.includes("i")) flags |= engine.CASE_INSENSITIVE;
  if (options.includes("m")) flags |= engine.MULTILINE;
  if (options.includes("s")) flags |= engine.DOTALL;
  const made = engine.compile(pattern, flags);
  const size = made.programSize();
  const bounded = <T>(text: string, work: () => T, characters: (result: T) => number): T => {
    const steps = size * text.length;
    if (steps < UNTIMED_STEPS) return work();
    if (steps > MAX_STEPS) throw tooMuch();
    return timed(work, characters);
  };
  return {
    test: (text) => bounded(text, () => made.test(text), () => text.length),
    *matchAll(text) {
      const matches = made.matchAll(text);
      let at = 0;
      // To find one match may need a look at all of the rest: so each is timed, and counts for its own length.
      const advance = ({ done, value }: IteratorResult<RegExpMatchArray, void>) => {
        const from = at;
        at = done ? text.length : value.index! + value[0].length;
        return at - from;
      };
      for (;;) {
        const next = bounded(text, () => matches.next(), advance);
        if (next.done) return;
        yield next.value;
      }
    },
  };
}
