/**
 * What is tapped: an exchange, and which of its messages.
 * @module
 */

/** An exchange, and the routing key of the binding to it. */
export interface Source {
  exchange: string;
  /** `#` unless one was given: all messages of a fanout, topic or headers exchange. */
  key: string;
  /** Whether the key was given. */
  chosen: boolean;
}

/**
 * Reads `EXCHANGE[:PATTERN]`: the last colon that has no backslash before it divides the two.
 *
 * @throws {TypeError} when there is no exchange to bind to
 */
export function sourceOf(word: string): Source {
  const [, name = word, pattern] = /^(.*)(?<!\\):(.*)$/s.exec(word) ?? [];
  const exchange = name.replaceAll("\\:", ":");
  if (exchange === "") {
    throw new TypeError(
      `expected EXCHANGE[:PATTERN], not '${word}'; the default exchange takes no bindings, look at a queue with --queue`,
    );
  }
  if (exchange === "amq.direct" && pattern === undefined) {
    throw new TypeError(`'${exchange}' is a direct exchange: name a key of it: ${exchange}:KEY`);
  }
  const chosen = pattern !== undefined;
  return { exchange, key: chosen ? pattern.replaceAll("\\:", ":") : "#", chosen };
}
