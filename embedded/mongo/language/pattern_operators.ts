/**
 * The operators of the aggregation language that match patterns, in place of mingo's, which are JavaScript's and may
 * backtrack for ever.
 * https://www.mongodb.com/docs/manual/reference/operator/aggregation/regexMatch/
 * @module
 */
import { BSONRegExp } from "bson";
import { evalExpr } from "mingo/core";
import * as mingoExpressions from "mingo/operators/expression";
import * as mingoStages from "mingo/operators/pipeline";
import { type CodeName, CommandError } from "../errors.ts";
import type { Doc } from "../values/bson_view.ts";
import { isDoc, RANK, rankOf, regexParts } from "../values/compare.ts";
import { compileFilter } from "./matcher.ts";
import { checkOptions, compilePattern, type Pattern } from "./regex.ts";

// deno-lint-ignore no-explicit-any
type Any = any;
type Operator = (obj: Any, expr: Any, options: Any) => unknown;

/** What an operator is to search, and for what; undefined when either is missing. */
interface Search {
  input: string;
  pattern: Pattern;
}

function searchOf(name: string, obj: Any, expr: Any, options: Any): Search | undefined {
  const wrong = (code: CodeName, what: string) => new CommandError(code, `${name} ${what}`);
  if (!isDoc(expr)) throw wrong("Location51103", "expects an object of named arguments");
  for (const field of Object.keys(expr)) {
    if (["input", "regex", "options"].includes(field)) continue;
    throw wrong("Location31024", `found unexpected argument: ${field}`);
  }
  if (!("input" in expr)) throw wrong("Location31022", "requires 'input' parameter");
  if (!("regex" in expr)) throw wrong("Location31023", "requires 'regex' parameter");
  const value = (field: string): unknown =>
    rankOf(expr[field]) === RANK.regex ? expr[field] : evalExpr(obj, expr[field] as Any, options);
  const input = value("input") ?? null;
  const regex = value("regex") ?? null;
  const flags = value("options") ?? null;
  if (input !== null && typeof input !== "string") {
    throw wrong("Location51104", "needs 'input' to be of type string");
  }
  if (flags !== null && typeof flags !== "string") {
    throw wrong("Location51106", "needs 'options' to be of type string");
  }
  if (regex !== null && typeof regex !== "string" && rankOf(regex) !== RANK.regex) {
    throw wrong("Location51105", "needs 'regex' to be of type string or regex");
  }
  const own = regex === null || typeof regex === "string" ? "" : regexParts(regex).options;
  if (own && flags) {
    throw wrong("Location51107", "found regex option(s) specified in both 'regex' and 'options'");
  }
  if (input === null || regex === null) return undefined;
  const source = typeof regex === "string" ? regex : regexParts(regex).pattern;
  return { input, pattern: compiled(name, source, flags ?? own) };
}

/** Patterns compiled of late: an operator is evaluated for each document, mostly with the same one. */
const recent = new Map<string, Pattern>();

function compiled(name: string, source: string, flags: string): Pattern {
  const key = `${flags}/${source}`;
  let pattern = recent.get(key);
  if (!pattern) {
    checkOptions(flags);
    try {
      pattern = compilePattern(new BSONRegExp(source, flags));
    } catch (error) {
      if (!(error instanceof CommandError) || error.codeName !== "Location51091") throw error;
      throw new CommandError("Location51111", `Invalid Regex in ${name}: ${error.message}`);
    }
    if (recent.size >= 20) recent.clear();
    recent.set(key, pattern);
  }
  return pattern;
}

/** Matches as the server shows them: places are counted in code points. */
function* found({ input, pattern }: Search): Generator<Doc, void> {
  let at = 0;
  let idx = 0;
  for (const match of pattern.matchAll(input)) {
    for (; at < match.index!; at++) {
      idx++;
      if (input.codePointAt(at)! > 0xffff) at++;
    }
    const captures = match.slice(1).map((text) => text ?? null);
    yield { match: match[0], idx, captures };
    // As the server: no search begins at the end.
    if (match.index! + Math.max(match[0].length, 1) >= input.length) return;
  }
}

const regexMatch: Operator = (obj, expr, options) => {
  const search = searchOf("$regexMatch", obj, expr, options);
  return !!search && search.pattern.test(search.input);
};

const regexFind: Operator = (obj, expr, options) => {
  const search = searchOf("$regexFind", obj, expr, options);
  return (search && found(search).next().value) ?? null;
};

/** The server's limit of what `$regexFindAll` finds, in bytes. */
const MAX_FOUND = 64 * 1024 * 1024;
/** About how many bytes a match takes besides its text. */
const MATCH_SIZE = 100;

const regexFindAll: Operator = (obj, expr, options) => {
  const search = searchOf("$regexFindAll", obj, expr, options);
  const all: Doc[] = [];
  if (!search) return all;
  let bytes = 0;
  for (const match of found(search)) {
    bytes += MATCH_SIZE + (match.match as string).length;
    if (bytes > MAX_FOUND) {
      throw new CommandError(
        "Location51151",
        "$regexFindAll: the size of buffer to store output exceeded the 64MB limit",
      );
    }
    all.push(match);
  }
  return all;
};

// mingo makes a regular expression of what stands between the parts of the format, with little escaping.
const dateFromString: Operator = (obj, expr, options) => {
  const format = isDoc(expr) ? evalExpr(obj, (expr.format ?? null) as Any, options) : undefined;
  if (typeof format === "string" && /[*+?()[\]{}|^$\\]/.test(format)) {
    throw new CommandError(
      "NotImplemented",
      `A format with characters such as * or ( is not supported in $dateFromString: ${format}`,
    );
  }
  return (mingoExpressions as Any).$dateFromString(obj, expr, options);
};

/** Expression operators, by name. */
export const patternOperators: Record<string, Operator> = {
  $regexMatch: regexMatch,
  $regexFind: regexFind,
  $regexFindAll: regexFindAll,
  $dateFromString: dateFromString,
};

/** `$graphLookup`: what `restrictSearchWithMatch` excludes is left out before mingo searches. */
export const graphLookup = (input: Any, expr: Any, options: Any): Any => {
  const { restrictSearchWithMatch, ...rest } = expr;
  if (!isDoc(restrictSearchWithMatch)) {
    return (mingoStages as Any).$graphLookup(input, expr, options);
  }
  const test = compileFilter(restrictSearchWithMatch);
  const from = typeof rest.from === "string"
    ? (options.collectionResolver(rest.from) as Doc[]).filter(test)
    : rest.from;
  return (mingoStages as Any).$graphLookup(input, { ...rest, from }, options);
};
