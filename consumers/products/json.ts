/**
 * JSON whose numbers stay as they were written: a price is never floating point.
 * @module
 */

/** A number as it stands in the JSON. */
export class NumberText {
  constructor(readonly text: string) {}
}

/** https://github.com/tc39/proposal-json-parse-with-source; TypeScript does not know it yet. */
type Reviver = (key: string, value: unknown, context: { source?: string }) => unknown;
const parseWithSource = JSON.parse as (text: string, reviver: Reviver) => unknown;

/**
 * Parses JSON; every number becomes a {@linkcode NumberText}.
 *
 * @throws {SyntaxError} when the bytes are not JSON in UTF-8, or nested too deeply
 */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return parseWithSource(
      text,
      (_key, value, { source }) => typeof value === "number" ? new NumberText(source!) : value,
    );
  } catch (error) {
    if (error instanceof RangeError) throw new SyntaxError("it is nested too deeply");
    throw error instanceof SyntaxError ? error : new SyntaxError("it is not UTF-8");
  }
}

/** Whether a parsed value is an object with fields. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof NumberText);
}

/** A whole number from 1 that JavaScript holds exactly, written as a number or a string; else undefined. */
export function wholeNumber(value: unknown): number | undefined {
  const text = value instanceof NumberText ? value.text : value;
  if (typeof text !== "string" || !/^\d{1,16}$/.test(text)) return undefined;
  const number = Number(text);
  return number >= 1 && Number.isSafeInteger(number) ? number : undefined;
}
