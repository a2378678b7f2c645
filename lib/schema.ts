/**
 * `--schema`: whether a body conforms to a JSON Schema, draft 2020-12, within a time that its length bounds.
 * @module
 */
import type { Ajv2020, ErrorObject, KeywordCxt } from "ajv/dist/2020.js";
import { type Flag, textFlag, UsageError } from "./flags.ts";
import { parseJson } from "./json.ts";
import type { Log } from "./log.ts";
import { BadMessage } from "./retry.ts";
import { inRe2 } from "./schema_pattern.ts";
import { printable } from "./text.ts";

/** `--schema` of a tool, with what becomes of a body that does not conform: `dead-lettered`. */
export function schemaFlag(outcome: string): Flag<string> {
  return textFlag(
    `JSON Schema (draft 2020-12) of the bodies: what does not conform, or is no JSON, is ${outcome}`,
    { value: "FILE", default: "" },
  );
}

/** Throws {@linkcode BadMessage} for a body that does not conform. */
export type Check = (body: Uint8Array) => void;

/** Every format that ajv-formats knows but `url`, whose expression takes a time that grows with the square of the text. */
const FORMATS = [
  ...["date", "time", "date-time", "duration", "uuid"],
  ...["uri", "uri-reference", "uri-template", "email", "hostname", "ipv4", "ipv6"],
  ...["regex", "json-pointer", "relative-json-pointer", "json-pointer-uri-fragment"],
  ...["iso-time", "iso-date-time", "byte", "int32", "int64", "float", "double"],
  ...["password", "binary"], // hints, which anything conforms to
] as const;

/** How often a body may lead to a `$ref`, besides {@linkcode REFS_PER_BYTE}: some tenths of a second. */
const MOST_REFS = 1_000_000;
const REFS_PER_BYTE = 20;

/** Instructions of a compiled pattern times characters of text, of all patterns of a body: some seconds at the worst. */
const MOST_PATTERN_STEPS = 500_000_000;

/**
 * Reads a JSON Schema and makes a check of it; without a path everything conforms.
 *
 * Nothing is fetched: a `$ref` leads to the schema itself. Formats are asserted. Patterns are matched in a time that grows with the text only (no
 * look-ahead, no references to groups); a body whose check takes too long does not conform. Keywords that draft 2020-12 does not know are ignored,
 * which the log says; those that the validator would get wrong are refused.
 *
 * @param path the file; `""` for none
 * @throws {UsageError} when it cannot be read, or is no schema
 */
export async function schemaOf(path: string, log: Pick<Log, "warn">): Promise<Check> {
  if (path === "") return () => {};
  const name = path.replace(/^.*[/\\]/, "");
  let bytes: Uint8Array;
  try {
    bytes = await Deno.readFile(path);
  } catch (error) {
    throw new UsageError(`--schema: cannot read '${path}': ${(error as Error).message}`);
  }
  const budget = { refs: 0, patternSteps: 0 };
  function allow(bytes: number) {
    budget.refs = MOST_REFS + REFS_PER_BYTE * bytes;
    budget.patternSteps = MOST_PATTERN_STEPS;
  }
  allow(bytes.length); // the schema conforms to one, too
  let wrongWith: (value: unknown) => string | undefined;
  try {
    wrongWith = await compile(schemaIn(bytes), budget, (text) => log.warn(`${path}: ${text}`));
  } catch (error) {
    throw new UsageError(`--schema: '${path}' is no schema: ${whyNone(error as Error)}`);
  }
  return (body) => {
    allow(body.length);
    let wrong: string | undefined;
    try {
      wrong = wrongWith(parseJson(body));
    } catch (error) {
      wrong = (error as Error).message; // no JSON, or it takes too long
    }
    if (wrong !== undefined) throw new BadMessage(`does not conform to ${name}: ${wrong}`);
  };
}

/** @throws when it is no JSON that may be a schema */
function schemaIn(bytes: Uint8Array): Record<string, unknown> | boolean {
  const schema = parseJson(bytes);
  if (typeof schema === "boolean") return schema;
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) {
    throw new Error("expected an object, true or false");
  }
  // Ajv leaves it out, so that it would not be asserted.
  JSON.stringify(schema, (_key, value) => {
    if (value && typeof value === "object" && Object.hasOwn(value, "__proto__")) {
      throw new Error("a key '__proto__' is not supported");
    }
    return value;
  });
  return schema as Record<string, unknown>;
}

/** Ajv's words for a schema that it does not take, with what its user may not know. */
function whyNone({ message }: Error): string {
  return printable(
    message
      .replace(/^the body/, "it")
      .replace(/^can't resolve reference.*/, "$& (nothing is fetched)")
      .replace(/^no schema with key or ref (.*)/, "$schema is $1, and only draft 2020-12 is known")
      .replace(/^Maximum call stack.*/, "its references ($ref, $id) are not supported")
      .replace(/ ignored in schema at path/, " at"),
    500,
  );
}

/** Returns what says what is wrong with a value. */
async function compile(
  schema: Record<string, unknown> | boolean,
  budget: { refs: number; patternSteps: number },
  warn: (text: string) => void,
): Promise<(value: unknown) => string | undefined> {
  const [{ Ajv2020, _ }, { default: formats }, { RE2JS }] = await Promise.all([
    import("ajv/dist/2020.js"),
    import("ajv-formats"),
    import("re2js"),
  ]);

  function regExp(pattern: string) {
    const flags = /\(\?<[=!]/.test(pattern) ? RE2JS.LOOKBEHINDS : 0; // it takes twice the time
    let compiled: ReturnType<typeof RE2JS.compile>;
    try {
      compiled = RE2JS.compile(RE2JS.translateRegExp(inRe2(pattern)), flags);
    } catch (error) {
      throw new Error(`the pattern '${pattern}' cannot be used: ${(error as Error).message}`);
    }
    const size = compiled.programSize();
    return {
      toString: () => pattern, // by which ajv tells patterns apart
      test(text: string) {
        if ((budget.patternSteps -= size * text.length) < 0) {
          throw new Error(`matching the pattern '${pattern}' takes too long`);
        }
        return compiled.test(text);
      },
    };
  }
  const ajv = new Ajv2020({
    strictSchema: "log",
    strictTypes: false,
    strictTuples: false,
    ownProperties: true, // nothing has a property `constructor` or `__proto__` that it has not been sent with
    logger: {
      log: warn,
      warn: (text: string) => warn(text.replace(/^strict mode: /, "")),
      error() {},
    },
    code: { regExp: Object.assign(regExp, { code: "regExp" }) },
  });
  // To know what was evaluated ajv goes on in an `anyOf` after what conforms.
  ajv.opts.unevaluated = /"unevaluated/.test(JSON.stringify(schema));
  // deno-lint-ignore no-explicit-any -- its type is that of a CommonJS module
  (formats as any)(ajv, FORMATS);
  refuseUnsupported(ajv);
  // With `anyOf` and a schema that refers to itself each level of a body may double the time.
  beforeCode(ajv, ["$ref", "$dynamicRef"], (cxt) => {
    const step = cxt.gen.scopeValue("func", {
      ref() {
        if (--budget.refs < 0) {
          throw new Error("it is nested in a way that takes too long to check");
        }
      },
    });
    cxt.gen.code(_`${step}()`);
  });
  compareItemsInLinearTime(ajv);

  const validate = ajv.compile(schema);
  if ("$async" in validate) throw new Error("'$async' is not supported");
  return (value) => {
    if (validate(value)) return undefined;
    // The last error is that of the outermost keyword, such as that of an `anyOf`; that of an `if` says less than the one before.
    return told(validate.errors!.findLast(({ keyword }) => keyword !== "if")!);
  };
}

/** What ajv 8.20 gets wrong without a word, by the official test suite of draft 2020-12; of that nothing else is left. */
function refuseUnsupported(ajv: Ajv2020): void {
  beforeCode(ajv, ["$dynamicRef", "unevaluatedItems"], ({ keyword, it }) => {
    if (!it.schemaEnv.root.meta) throw new Error(`'${keyword}' is not supported`); // the draft's own schema may
  });
  beforeCode(ajv, ["if"], ({ parentSchema }) => {
    if (ajv.opts.unevaluated && !("then" in parentSchema)) {
      throw new Error("an 'if' without a 'then' is not supported beside 'unevaluatedProperties'");
    }
  });
}

/** Lets something be done whenever ajv writes the code of a keyword. */
function beforeCode(ajv: Ajv2020, keywords: string[], before: (cxt: KeywordCxt) => void): void {
  for (const keyword of keywords) {
    const definition = ajv.getKeyword(keyword);
    if (typeof definition !== "object" || !("code" in definition)) throw new Error(keyword);
    const { code } = definition;
    ajv.removeKeyword(keyword);
    ajv.addKeyword({
      ...definition,
      keyword,
      code(cxt, ruleType) {
        before(cxt);
        code(cxt, ruleType);
      },
    });
  }
}

/** Ajv compares each item with each other one. */
function compareItemsInLinearTime(ajv: Ajv2020): void {
  ajv.removeKeyword("uniqueItems");
  ajv.addKeyword({
    keyword: "uniqueItems",
    type: "array",
    schemaType: "boolean",
    validate: (unique: boolean, items: unknown[]) =>
      !unique || new Set(items.map(canonical)).size === items.length,
    error: { message: "must NOT have duplicate items" },
  });
}

/** JSON with the members of its objects in order. */
function canonical(value: unknown): string {
  return JSON.stringify(
    value,
    (_key, each) =>
      typeof each === "object" && each !== null && !Array.isArray(each)
        ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => a < b ? -1 : 1))
        : each,
  );
}

/** `/user/name: must be string`. */
function told({ instancePath, keyword, message, params }: ErrorObject): string {
  const { additionalProperty, unevaluatedProperty, allowedValues, allowedValue } = params;
  const property = additionalProperty ?? unevaluatedProperty;
  const more = property !== undefined
    ? `: '${property}'`
    : keyword === "enum"
    ? `: ${allowedValues.map((each: unknown) => JSON.stringify(each)).join(", ")}`
    : keyword === "const"
    ? `: ${JSON.stringify(allowedValue)}`
    : "";
  return printable(`${instancePath === "" ? "" : `${instancePath}: `}${message}${more}`, 500);
}
