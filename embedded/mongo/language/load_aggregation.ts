/**
 * mingo, loaded when the first request needs it: it takes 100 ms and more, which no start should wait for.
 * @module
 */
import type { Doc } from "../values/bson_view.ts";
import { isDoc } from "../values/compare.ts";
import type { MatchContext } from "./matcher.ts";
import { mentions } from "./mentions.ts";
import { loadRegexEngine, needsRegexEngine } from "./regex.ts";

type Aggregation = typeof import("./aggregation.ts");
let loaded: Aggregation | undefined;

/** The aggregation language, loaded once. */
export async function loadAggregation(): Promise<Aggregation> {
  await loadRegexEngine();
  return loaded ??= await import("./aggregation.ts");
}

/** What a filter needs to be compiled: mingo if it has an expression in it. */
export async function expressionContext(filter: unknown, variables?: Doc): Promise<MatchContext> {
  if (needsRegexEngine(filter)) await loadRegexEngine();
  if (!mentions(filter, "$expr")) return {};
  const { expressionTest } = await loadAggregation();
  return { expression: (expression) => expressionTest(expression, variables) };
}

/**
 * The values of a command's `let`, each an expression without a document.
 * @throws CommandError for an expression that is none
 */
export async function variablesOf(given: Doc | undefined): Promise<Doc | undefined> {
  if (!given) return undefined;
  const constant = (value: unknown) =>
    !isDoc(value) && !Array.isArray(value) && !(typeof value === "string" && value[0] === "$");
  if (Object.values(given).every(constant)) return given;
  const { expression } = await loadAggregation();
  return expression(given)({}) as Doc;
}
