/**
 * `--where`: which messages, in MongoDB's query language.
 * @module
 */
import type { Options } from "amqplib";
import { type Flag, textFlag, UsageError } from "./flags.ts";
import { textOf } from "./text.ts";

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

/** Operators of mingo that are no filters of MongoDB's, or run a text as a program. */
const REFUSED = /^\$(where|function|accumulator)$/;

/**
 * Makes a test of a query; of an empty one all messages are meant.
 *
 * @throws {UsageError} when it is no query
 */
export async function whereOf(query: string): Promise<Where> {
  if (query === "") return () => true;
  let condition: Record<string, unknown>;
  try {
    condition = JSON.parse(query);
  } catch (error) {
    throw new UsageError(
      `--where: expected JSON such as '{"body.level": "error"}': ${(error as Error).message}`,
    );
  }
  if (typeof condition !== "object" || condition === null || Array.isArray(condition)) {
    throw new UsageError(`--where: expected a JSON object, not '${query}'`);
  }
  const refused = operatorsOf(condition).find((name) => REFUSED.test(name));
  if (refused) throw new UsageError(`--where: ${refused} is not permitted: it runs a program`);
  const { Query } = await import("mingo");
  const wrong = (error: unknown) =>
    new UsageError(`--where: no query: ${(error as Error).message}`);
  let test: (document: Record<string, unknown>) => boolean;
  try {
    const compiled = new Query(condition);
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

function operatorsOf(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, each]) => [
    ...name.startsWith("$") ? [name] : [],
    ...operatorsOf(each),
  ]);
}
