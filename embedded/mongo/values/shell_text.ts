/**
 * Values as the server writes them into its error texts.
 * @module
 */
import { Binary, Decimal128, Double, ObjectId } from "bson";
import { isDoc, RANK, rankOf, regexParts } from "./compare.ts";

/** `{ a: 1, b: "x" }`, the server's own notation. */
export function shellText(value: unknown): string {
  if (value === undefined || value === null) return "null";
  if (typeof value === "string") return `"${value}"`;
  if (value instanceof ObjectId) return `ObjectId('${value.toHexString()}')`;
  if (value instanceof Date) return `new Date(${value.getTime()})`;
  if (value instanceof Double) return String(value.value);
  if (value instanceof Decimal128) return `Decimal128("${value}")`;
  if (value instanceof Binary) {
    return `BinData(${value.sub_type}, ${value.toString("hex").toUpperCase()})`;
  }
  if (Array.isArray(value)) return value.length ? `[ ${value.map(shellText).join(", ")} ]` : "[]";
  if (rankOf(value) === RANK.regex) {
    const { pattern, options } = regexParts(value);
    return `/${pattern}/${options}`;
  }
  if (isDoc(value)) {
    const names = Object.keys(value);
    if (!names.length) return "{}";
    return `{ ${names.map((name) => `${name}: ${shellText(value[name])}`).join(", ")} }`;
  }
  return String(value);
}
