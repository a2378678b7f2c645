/**
 * `--where`: which messages, in MongoDB's query language.
 * @module
 */
import type { Options } from "amqplib";
import { type Flag, textFlag, UsageError } from "./flags.ts";
import { parseJson } from "./json.ts";
import { printable, textOf } from "./text.ts";

/** What a query is about. */
export interface Queried {
  /** Exchange that it was published to. */
  exchange: string;
  /** Routing key that it was published with. */
  routingKey: string;
  /** The body's bytes; in a query `body` is what they are as JSON, and `text` the text that they are. */
  body: Uint8Array;
  /** Its properties, such as `properties.messageId`; `headers` stand beside them. */
  properties: Options.Publish;
  /** When it was seen, or published; in a query a text such as `2026-01-31T12:00:00.000Z`, whose order is that of time. */
  time?: Date;
}

/** Whether a message is meant. */
export type Where = (message: Queried) => boolean;

/** `--where`. */
export const whereFlag: Flag<string> = textFlag(
  'only messages that match this query in MongoDB\'s language, on body (as JSON), text, headers, properties, exchange, routingKey, time: \'{"body.level": "error"}\'',
  { value: "QUERY", default: "" },
);

/** The name of our own operator for patterns; mingo's `$regex` takes those of JavaScript. */
const MATCHES = "$matches";

/** What runs a text as a program, or matches patterns in a time that may grow exponentially. */
const REFUSED = /^\$(where|function|accumulator|matches|regex.+|replace(One|All)|split)$/;

/**
 * Makes a test of a query; of an empty one all messages are meant.
 *
 * @throws {UsageError} when it is no query
 */
export async function whereOf(query: string): Promise<Where> {
  if (query === "") return () => true;
  let condition: unknown;
  try {
    condition = parseJson(new TextEncoder().encode(query));
  } catch (error) {
    throw new UsageError(
      `--where: expected JSON such as '{"body.level": "error"}': ${(error as Error).message}`,
    );
  }
  if (!isObject(condition)) {
    throw new UsageError(`--where: expected a JSON object, not '${printable(query, 200)}'`);
  }
  const [{ Query, Context }, { resolve }, { RE2JS }] = await Promise.all([
    import("mingo"),
    import("mingo/util"),
    import("re2js"),
  ]);
  const wrong = (error: unknown) =>
    new UsageError(`--where: no query: ${(error as Error).message}`);
  /** `$regex` in a time that grows with the text only: a message must not stop the tool. */
  function matches(selector: string, { source, options }: Pattern) {
    if (/[^ims]/.test(options)) throw new Error(`$options are i, m and s, not '${options}'`);
    const flags = options === "" ? "" : `(?${options})`;
    const pattern = RE2JS.compile(flags + RE2JS.translateRegExp(source));
    const isMatch = (value: unknown) => typeof value === "string" && pattern.test(value);
    return (document: unknown) => {
      const value = resolve(document as Query, selector, { unwrapArray: true });
      return Array.isArray(value) ? value.flat().some(isMatch) : isMatch(value);
    };
  }
  const context = Context.init({ query: { [MATCHES]: matches as never } });
  let test: (document: Record<string, unknown>) => boolean;
  try {
    const refused = operatorsOf(condition).find((name) => REFUSED.test(name));
    if (refused) throw new Error(`${refused} is not supported`);
    const compiled = new Query(withPatterns(condition) as Query, { context });
    test = (document) => compiled.test(document);
    test({}); // some mistakes show only then
  } catch (error) {
    throw wrong(error);
  }
  return (message) => {
    try {
      return test(documentOf(message));
    } catch (error) {
      throw wrong(error);
    }
  };
}

function documentOf(
  { exchange, routingKey, body, properties, time }: Queried,
): Record<string, unknown> {
  const text = textOf(body);
  const { headers, ...rest } = properties;
  return {
    ...{ exchange, routingKey, properties: rest, headers: headers ?? {} },
    ...time && { time: time.toISOString() },
    ...text !== undefined && { text, ...parsed(text) },
  };
}

/** Without a `body` where it is no JSON: `{ body: { $exists: false } }`. */
function parsed(text: string): { body?: unknown } {
  try {
    return { body: JSON.parse(text) };
  } catch {
    return {};
  }
}

/** What stands in place of `$regex` and `$options`. */
interface Pattern {
  source: string;
  options: string;
}

/** The query with {@linkcode MATCHES} in place of each `$regex`. */
function withPatterns(query: unknown): unknown {
  if (Array.isArray(query)) return query.map(withPatterns);
  if (!isObject(query)) return query;
  const { $regex: source, $options: options = "", ...others } = query;
  const rest = Object.entries(others).map(([name, value]) => [name, withPatterns(value)]);
  if (source === undefined) return Object.fromEntries(rest);
  if (typeof source !== "string" || typeof options !== "string") {
    throw new Error("$regex and $options are texts");
  }
  return { ...Object.fromEntries(rest), [MATCHES]: { source, options } };
}

type Query = Record<string, unknown>;

function isObject(value: unknown): value is Query {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function operatorsOf(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, each]) => [
    ...name.startsWith("$") ? [name] : [],
    ...operatorsOf(each),
  ]);
}
