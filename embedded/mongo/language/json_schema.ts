/**
 * `$jsonSchema`: draft 4 of JSON Schema with MongoDB's `bsonType`, without `$ref`, `default`, `definitions`, `format`
 * and `id`, which the server does not take either.
 * https://www.mongodb.com/docs/manual/reference/operator/query/jsonSchema/
 * @module
 */
import { BSONRegExp } from "bson";
import { CommandError } from "../errors.ts";
import type { Doc } from "../values/bson_view.ts";
import { compare, equal, isDoc, RANK, rankOf, typeName } from "../values/compare.ts";
import { compareNums, exactOf, isFiniteNum, isNum, type Num, toNumber } from "../values/numbers.ts";
import { compilePattern, type Pattern } from "./regex.ts";

/** Tests a value that is there. */
export type SchemaTest = (value: unknown) => boolean;

function failed(message: string): CommandError {
  return new CommandError("FailedToParse", message);
}

function wrong(keyword: string, expected: string): CommandError {
  return new CommandError("TypeMismatch", `$jsonSchema keyword '${keyword}' must be ${expected}`);
}

/** Names of JSON's types, as BSON types. `integer` the server refuses: it would be ambiguous. */
const JSON_TYPES: Record<string, string[]> = {
  object: ["object"],
  array: ["array"],
  string: ["string"],
  boolean: ["bool"],
  number: ["int", "long", "double", "decimal"],
  null: ["null"],
};
const BSON_TYPES = new Set(
  ("double string object array binData undefined objectId bool date null regex dbPointer javascript symbol " +
    "javascriptWithScope int timestamp long decimal minKey maxKey number").split(" "),
);

/**
 * Compile a schema.
 * @throws CommandError FailedToParse, TypeMismatch, BadValue for a schema that the server does not take
 */
export function compileSchema(schema: unknown): SchemaTest {
  if (!isDoc(schema)) throw wrong("$jsonSchema", "an object");
  if ("type" in schema && "bsonType" in schema) {
    throw failed("Cannot specify both $jsonSchema keywords 'type' and 'bsonType'");
  }
  const tests: SchemaTest[] = [];
  for (const keyword of Object.keys(schema)) {
    const make = Object.hasOwn(KEYWORDS, keyword) ? KEYWORDS[keyword] : undefined;
    if (!make) {
      throw failed(
        UNSUPPORTED.includes(keyword)
          ? `$jsonSchema keyword '${keyword}' is not currently supported`
          : `Unknown $jsonSchema keyword: ${keyword}`,
      );
    }
    const test = make(schema[keyword], schema);
    if (test) tests.push(test);
  }
  return (value) => tests.every((test) => test(value));
}

const UNSUPPORTED = ["$ref", "$schema", "default", "definitions", "format", "id"];

type Keyword = (operand: unknown, schema: Doc) => SchemaTest | undefined;

const isNumber: SchemaTest = (value) => isNum(value);
const isText: SchemaTest = (value) => typeof value === "string";
const isList: SchemaTest = (value) => rankOf(value) === RANK.array;

/** A keyword says something of values of one kind only; all others pass. */
function only(kind: SchemaTest, test: SchemaTest): SchemaTest {
  return (value) => !kind(value) || test(value);
}

function numberOf(keyword: string, operand: unknown): Num {
  if (!isNum(operand)) throw wrong(keyword, "a number");
  return operand;
}

function countOf(keyword: string, operand: unknown): number {
  const count = isNum(operand) ? toNumber(operand) : NaN;
  if (!Number.isInteger(count) || count < 0) {
    throw failed(`Expected a non-negative integer in: ${keyword}`);
  }
  return count;
}

function listOf(keyword: string, operand: unknown): unknown[] {
  if (!Array.isArray(operand)) throw wrong(keyword, "an array");
  if (!operand.length) throw failed(`$jsonSchema keyword '${keyword}' cannot be an empty array`);
  return operand;
}

function docOf(keyword: string, operand: unknown): Doc {
  if (!isDoc(operand)) throw wrong(keyword, "an object");
  return operand;
}

function namesOf(keyword: string, operand: unknown): string[] {
  const names = listOf(keyword, operand);
  if (!names.every((name) => typeof name === "string")) throw wrong(keyword, "an array of strings");
  return names as string[];
}

function typed(keyword: string, operand: unknown, known: (name: string) => string[]): SchemaTest {
  const names = typeof operand === "string" ? [operand] : namesOf(keyword, operand);
  const types = new Set(names.flatMap(known));
  return (value) => types.has(typeName(value));
}

function bound(keyword: "minimum" | "maximum"): Keyword {
  const exclusive = keyword === "minimum" ? "exclusiveMinimum" : "exclusiveMaximum";
  const sign = keyword === "minimum" ? 1 : -1;
  return (operand, schema) => {
    const limit = numberOf(keyword, operand);
    const strict = schema[exclusive] === true;
    return only(isNumber, (value) => {
      const order = compareNums(value as Num, limit) * sign;
      return strict ? order > 0 : order >= 0;
    });
  };
}

function boundFlag(keyword: string, needs: string): Keyword {
  return (operand, schema) => {
    if (typeof operand !== "boolean") throw wrong(keyword, "a boolean");
    if (!(needs in schema)) {
      throw failed(`$jsonSchema keyword '${needs}' must be a present if ${keyword} is present`);
    }
    return undefined;
  };
}

function sized(
  keyword: string,
  kind: SchemaTest,
  size: (value: unknown) => number,
  most: boolean,
): Keyword {
  return (operand) => {
    const count = countOf(keyword, operand);
    return only(kind, (value) => most ? size(value) <= count : size(value) >= count);
  };
}

const characters = (value: unknown) => [...(value as string)].length;
const elements = (value: unknown) => (value as unknown[]).length;
const fields = (value: unknown) => Object.keys(value as Doc).length;

function patternOf(text: string): Pattern {
  return compilePattern(new BSONRegExp(text, ""));
}

function multiple(value: Num, of: Num): boolean {
  if (!isFiniteNum(value)) return false;
  const a = exactOf(value);
  const b = exactOf(of);
  const exponent = Math.min(a.exponent, b.exponent);
  // A difference in size that no sensible schema has would make a number of thousands of digits.
  if (Math.max(a.exponent, b.exponent) - exponent > 1000) return false;
  const x = a.digits * 10n ** BigInt(a.exponent - exponent);
  const y = b.digits * 10n ** BigInt(b.exponent - exponent);
  return x % y === 0n;
}

const KEYWORDS: Record<string, Keyword> = {
  title: () => undefined,
  description: () => undefined,
  bsonType: (operand) =>
    typed("bsonType", operand, (name) => {
      if (!BSON_TYPES.has(name)) {
        throw new CommandError("BadValue", `Unknown type name alias: ${name}`);
      }
      return name === "number" ? JSON_TYPES.number! : [name];
    }),
  type: (operand) =>
    typed("type", operand, (name) => {
      if (name === "integer") {
        throw failed("$jsonSchema type 'integer' is not currently supported.");
      }
      const types = JSON_TYPES[name];
      if (!types) throw new CommandError("BadValue", `Unknown type name alias: ${name}`);
      return types;
    }),
  enum: (operand) => {
    const values = listOf("enum", operand);
    return (value) => values.some((one) => equal(one, value));
  },
  minimum: bound("minimum"),
  maximum: bound("maximum"),
  exclusiveMinimum: boundFlag("exclusiveMinimum", "minimum"),
  exclusiveMaximum: boundFlag("exclusiveMaximum", "maximum"),
  multipleOf: (operand) => {
    const of = numberOf("multipleOf", operand);
    if (compare(of, 0) <= 0) {
      throw failed("$jsonSchema keyword 'multipleOf' must have a positive value");
    }
    return only(isNumber, (value) => multiple(value as Num, of));
  },
  minLength: sized("minLength", isText, characters, false),
  maxLength: sized("maxLength", isText, characters, true),
  pattern: (operand) => {
    if (typeof operand !== "string") throw wrong("pattern", "a string");
    const pattern = patternOf(operand);
    return only(isText, (value) => pattern.test(value as string));
  },
  minItems: sized("minItems", isList, elements, false),
  maxItems: sized("maxItems", isList, elements, true),
  uniqueItems: (operand) => {
    if (typeof operand !== "boolean") throw wrong("uniqueItems", "a boolean");
    if (!operand) return undefined;
    return only(isList, (value) => {
      const sorted = [...value as unknown[]].sort(compare);
      return sorted.every((item, i) => i === 0 || !equal(item, sorted[i - 1]));
    });
  },
  items: (operand, schema) => {
    if (!Array.isArray(operand)) {
      const test = compileSchema(operand);
      return only(isList, (value) => (value as unknown[]).every(test));
    }
    const tests = operand.map(compileSchema);
    const { additionalItems = true } = schema;
    const rest = typeof additionalItems === "boolean"
      ? () => additionalItems
      : compileSchema(additionalItems);
    return only(
      isList,
      (value) => (value as unknown[]).every((item, i) => (tests[i] ?? rest)(item)),
    );
  },
  additionalItems: (operand) => {
    if (typeof operand !== "boolean") compileSchema(operand);
    return undefined;
  },
  properties: (operand) => {
    const properties = docOf("properties", operand);
    const tests = Object.keys(properties)
      .map((name) => [name, compileSchema(properties[name])] as const);
    return only(isDoc, (value) => {
      const doc = value as Doc;
      return tests.every(([name, test]) => !Object.hasOwn(doc, name) || test(doc[name]));
    });
  },
  patternProperties: (operand) => {
    const properties = docOf("patternProperties", operand);
    const tests = Object.keys(properties)
      .map((name) => [patternOf(name), compileSchema(properties[name])] as const);
    return only(isDoc, (value) => {
      const doc = value as Doc;
      return Object.keys(doc).every((name) =>
        tests.every(([pattern, test]) => !pattern.test(name) || test(doc[name]))
      );
    });
  },
  additionalProperties: (operand, schema) => {
    const test = typeof operand === "boolean" ? () => operand : compileSchema(operand);
    const known = isDoc(schema.properties) ? schema.properties : {};
    const patterns = isDoc(schema.patternProperties)
      ? Object.keys(schema.patternProperties).map(patternOf)
      : [];
    return only(isDoc, (value) => {
      const doc = value as Doc;
      return Object.keys(doc).every((name) =>
        Object.hasOwn(known, name) || patterns.some((pattern) => pattern.test(name)) ||
        test(doc[name])
      );
    });
  },
  required: (operand) => {
    const names = namesOf("required", operand);
    return only(isDoc, (value) => names.every((name) => Object.hasOwn(value as Doc, name)));
  },
  minProperties: sized("minProperties", isDoc, fields, false),
  maxProperties: sized("maxProperties", isDoc, fields, true),
  dependencies: (operand) => {
    const given = docOf("dependencies", operand);
    const tests = Object.keys(given).map((name) => {
      const needs = given[name];
      const test = Array.isArray(needs) ? KEYWORDS.required!(needs, {})! : compileSchema(needs);
      return [name, test] as const;
    });
    return only(
      isDoc,
      (value) => tests.every(([name, test]) => !Object.hasOwn(value as Doc, name) || test(value)),
    );
  },
  allOf: (operand) => {
    const tests = listOf("allOf", operand).map(compileSchema);
    return (value) => tests.every((test) => test(value));
  },
  anyOf: (operand) => {
    const tests = listOf("anyOf", operand).map(compileSchema);
    return (value) => tests.some((test) => test(value));
  },
  oneOf: (operand) => {
    const tests = listOf("oneOf", operand).map(compileSchema);
    return (value) => tests.filter((test) => test(value)).length === 1;
  },
  not: (operand) => {
    const test = compileSchema(operand);
    return (value) => !test(value);
  },
};
