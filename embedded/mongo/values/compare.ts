/**
 * MongoDB's order and equality of values.
 * https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
 * @module
 */
import {
  Binary,
  BSONRegExp,
  BSONSymbol,
  ByteUtils,
  Code,
  Decimal128,
  Double,
  MaxKey,
  MinKey,
  ObjectId,
  Timestamp,
} from "bson";
import { activeOrder } from "./collation.ts";
import { compareNums, kindOf, type Num } from "./numbers.ts";

/** Ranks of the types, lowest first; types of one rank compare by value. */
export const RANK = {
  minKey: 0x10,
  undefined: 0x18,
  null: 0x20,
  number: 0x30,
  string: 0x40,
  object: 0x50,
  array: 0x60,
  binary: 0x70,
  objectId: 0x80,
  bool: 0x90,
  date: 0xa0,
  timestamp: 0xa8,
  regex: 0xb0,
  code: 0xc0,
  codeWithScope: 0xc8,
  maxKey: 0xf0,
} as const;

/** The rank of a decoded value; a missing one (`undefined`) ranks as null, as in sorts and index keys. */
export function rankOf(value: unknown): number {
  switch (typeof value) {
    case "undefined":
      return RANK.null;
    case "number":
    case "bigint":
      return RANK.number;
    case "string":
      return RANK.string;
    case "boolean":
      return RANK.bool;
  }
  if (value === null) return RANK.null;
  if (Array.isArray(value)) return RANK.array;
  if (value instanceof ObjectId) return RANK.objectId;
  if (value instanceof Date) return RANK.date;
  if (value instanceof Double || value instanceof Decimal128) return RANK.number;
  if (value instanceof Binary) return RANK.binary;
  if (value instanceof Timestamp) return RANK.timestamp;
  if (value instanceof BSONRegExp || value instanceof RegExp) return RANK.regex;
  if (value instanceof BSONSymbol) return RANK.string;
  if (value instanceof Code) return value.scope ? RANK.codeWithScope : RANK.code;
  if (value instanceof MinKey) return RANK.minKey;
  if (value instanceof MaxKey) return RANK.maxKey;
  return RANK.object;
}

/** True for an embedded document, as opposed to a scalar of an object type. */
export function isDoc(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && rankOf(value) === RANK.object;
}

/** The `$type` alias of a value. */
export function typeName(value: unknown): string {
  if (value === undefined) return "missing";
  switch (rankOf(value)) {
    case RANK.minKey:
      return "minKey";
    case RANK.null:
      return "null";
    case RANK.number:
      return kindOf(value as Num);
    case RANK.string:
      return value instanceof BSONSymbol ? "symbol" : "string";
    case RANK.object:
      return "object";
    case RANK.array:
      return "array";
    case RANK.binary:
      return "binData";
    case RANK.objectId:
      return "objectId";
    case RANK.bool:
      return "bool";
    case RANK.date:
      return "date";
    case RANK.timestamp:
      return "timestamp";
    case RANK.regex:
      return "regex";
    case RANK.code:
      return "javascript";
    case RANK.codeWithScope:
      return "javascriptWithScope";
    default:
      return "maxKey";
  }
}

/** Source and options of a regular expression of either class. */
export function regexParts(value: unknown): { pattern: string; options: string } {
  if (value instanceof RegExp) return { pattern: value.source, options: value.flags };
  return value as BSONRegExp;
}

function simple<T>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Strings compare by their UTF-8 bytes, which differs from JavaScript's order beyond the BMP. */
function compareStrings(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const high = x >= 0xd800 && x <= 0xdfff;
    if (high !== (y >= 0xd800 && y <= 0xdfff)) return high ? 1 : -1;
    return x - y;
  }
  return a.length - b.length;
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return ByteUtils.compare(a, b);
}

function compareDocs(a: Record<string, unknown>, b: Record<string, unknown>): number {
  const names = Object.keys(a);
  const others = Object.keys(b);
  const length = Math.min(names.length, others.length);
  for (let i = 0; i < length; i++) {
    const x = a[names[i]!];
    const y = b[others[i]!];
    const order = rankOf(x) - rankOf(y) || compareStrings(names[i]!, others[i]!) || compare(x, y);
    if (order) return order;
  }
  return names.length - others.length;
}

/** Compare two decoded values as the server sorts them: negative, zero or positive. */
export function compare(a: unknown, b: unknown): number {
  if (a === b) return 0;
  const rank = rankOf(a);
  const other = rankOf(b);
  if (rank !== other) return rank - other;
  switch (rank) {
    case RANK.number:
      return compareNums(a as Num, b as Num);
    case RANK.string:
      return (activeOrder() ?? compareStrings)(String(a), String(b));
    case RANK.object:
      return compareDocs(a as Record<string, unknown>, b as Record<string, unknown>);
    case RANK.array: {
      const xs = a as unknown[];
      const ys = b as unknown[];
      const length = Math.min(xs.length, ys.length);
      for (let i = 0; i < length; i++) {
        const order = compare(xs[i], ys[i]);
        if (order) return order;
      }
      return xs.length - ys.length;
    }
    case RANK.binary: {
      const x = a as Binary;
      const y = b as Binary;
      return x.position - y.position || x.sub_type - y.sub_type ||
        compareBytes(x.buffer.subarray(0, x.position), y.buffer.subarray(0, y.position));
    }
    case RANK.objectId:
      return compareBytes((a as ObjectId).id, (b as ObjectId).id);
    case RANK.bool:
      return Number(a) - Number(b);
    case RANK.date:
      return simple((a as Date).getTime(), (b as Date).getTime());
    case RANK.timestamp:
      return (a as Timestamp).compare(b as Timestamp);
    case RANK.regex: {
      const x = regexParts(a);
      const y = regexParts(b);
      return compareStrings(x.pattern, y.pattern) || compareStrings(x.options, y.options);
    }
    case RANK.code:
      return compareStrings((a as Code).code, (b as Code).code);
    case RANK.codeWithScope:
      return compareStrings((a as Code).code, (b as Code).code) ||
        compareDocs((a as Code).scope ?? {}, (b as Code).scope ?? {});
    default:
      return 0;
  }
}

/** Equality of values as queries and index keys see it: numbers by value, documents field by field in order. */
export function equal(a: unknown, b: unknown): boolean {
  return compare(a, b) === 0;
}
