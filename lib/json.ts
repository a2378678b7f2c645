/**
 * JSON as it came: numbers that JavaScript cannot hold, or would write in another way, are kept.
 * @module
 */

import { printable } from "./text.ts";

/** Deepest nesting that is accepted: reading and writing deeper JSON needs more stack than there may be. */
const MOST_NESTING = 100;

/** Finds every number that JavaScript may write in another way, and some that it does not: 1.10, 1e3, -0, 0.0000001, 12345678.901234567. */
const mayChange = /[\d.]{16}|\.0{6}|\.\d*0(?!\d)|\d[eE]|-0(?![.\d])/;

/** https://github.com/tc39/proposal-json-parse-with-source; TypeScript does not know it yet. */
const exactJSON = JSON as unknown as {
  rawJSON(text: string): object;
  isRawJSON(value: unknown): value is { rawJSON: string };
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown;
};

const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Parses JSON so that `JSON.stringify` writes every number as it was. A number that would be changed becomes an object that only
 * `JSON.stringify` and {@linkcode numberText} can read.
 *
 * @throws {SyntaxError} when the bytes are not UTF-8, no JSON, or nested too deeply; its message is printable
 */
export function parseExactly(body: Uint8Array): unknown {
  return parsed(body, (text) => {
    const value = JSON.parse(text);
    // The second test is for what has many digits, all of which JavaScript keeps.
    if (!mayChange.test(text) || JSON.stringify(value) === text) return value;
    return exactJSON.parse(
      text,
      (_key, value, { source }) =>
        typeof value === "number" && String(value) !== source ? exactJSON.rawJSON(source!) : value,
    );
  });
}

/**
 * Parses JSON to JavaScript's values.
 *
 * @throws {SyntaxError} as {@linkcode parseExactly}
 */
export function parseJson(body: Uint8Array): unknown {
  return parsed(body, JSON.parse);
}

function parsed(body: Uint8Array, parse: (text: string) => unknown): unknown {
  const text = (() => {
    try {
      return decoder.decode(body);
    } catch {
      throw new SyntaxError("the body is not UTF-8");
    }
  })();
  try {
    refuseDeepNesting(text);
    return parse(text);
  } catch (error) {
    // It quotes the text.
    throw new SyntaxError(`the body is not JSON: ${printable((error as Error).message, 200)}`);
  }
}

/** The text of a number, also of one that {@linkcode parseExactly} kept; undefined for anything else. */
export function numberText(value: unknown): string | undefined {
  if (typeof value === "string") return undefined; // the commonest one
  if (typeof value === "number") return String(value);
  return exactJSON.isRawJSON(value) ? value.rawJSON : undefined;
}

/** @throws {SyntaxError} when arrays and objects are nested too deeply */
function refuseDeepNesting(text: string): void {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) inString = !inString;
    else if (inString) {
      if (code === 0x5c) at++; // a backslash: the next character ends no string
    } else if (code === 0x5b || code === 0x7b) {
      if (++depth > MOST_NESTING) {
        throw new SyntaxError(`nested more than ${MOST_NESTING} levels deep`);
      }
    } else if (code === 0x5d || code === 0x7d) depth--;
  }
}
