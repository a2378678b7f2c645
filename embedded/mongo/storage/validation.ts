/**
 * Document validation: the rule that a collection has for what is written to it.
 * https://www.mongodb.com/docs/manual/core/schema-validation/
 * @module
 */
import { CommandError } from "../errors.ts";
import { compileSchema } from "../language/json_schema.ts";
import { expressionContext } from "../language/load_aggregation.ts";
import {
  compileFilter,
  isOperatorDoc,
  type MatchContext,
  type Predicate,
} from "../language/matcher.ts";
import { valueAt } from "../language/paths.ts";
import type { Doc } from "../values/bson_view.ts";
import { isDoc, typeName } from "../values/compare.ts";
import { flag } from "../values/field_checks.ts";
import type { Collection } from "./collection.ts";

/**
 * Throws DocumentValidationFailure for a document that may not be stored.
 * @param before the document that it replaces
 */
export type Check = (doc: Doc, before?: () => Doc) => void;

interface Rule {
  test: Predicate;
  validator: Doc;
  context: MatchContext;
}

const rules = new WeakMap<Doc, Rule>();

/** The check of a collection, for a write command; undefined when there is nothing to check. */
export async function documentCheck(
  collection: Collection | undefined,
  body: Doc,
): Promise<Check | undefined> {
  const { validator, validationLevel = "strict", validationAction = "error" } =
    collection?.options ?? {};
  if (!isDoc(validator) || !Object.keys(validator).length) return undefined;
  if (validationLevel === "off" || validationAction === "warn") return undefined;
  if (flag(body.bypassDocumentValidation)) return undefined;
  let rule = rules.get(validator);
  if (!rule) {
    const context = await expressionContext(validator);
    rule = { test: compileFilter(validator, context), validator, context };
    rules.set(validator, rule);
  }
  const { test } = rule;
  return (doc, before) => {
    if (test(doc)) return;
    // "moderate": a document that broke the rule before may go on doing so.
    if (validationLevel === "moderate" && before && !test(before())) return;
    throw new CommandError("DocumentValidationFailure", "Document failed validation", {
      errInfo: { failingDocumentId: doc._id, details: details(rule, doc) },
    });
  };
}

const REASONS: Record<string, string> = {
  $type: "type did not match",
  $regex: "regular expression did not match",
  $in: "no matching value found in array",
  $exists: "path does not exist",
  $expr: "expression did not match",
  $size: "array length was not equal to given size",
};

/** Which clause of the rule was not met, as the server explains it. */
function details({ validator, context }: Rule, doc: Doc): Doc {
  const clauses = Object.keys(validator).map((name): Doc => ({ [name]: validator[name] }));
  const failed = clauses.map((clause, index) => ({ clause, index }))
    .filter(({ clause }) => !compileFilter(clause, context)(doc));
  if (clauses.length === 1) return clauseDetails(clauses[0]!, doc);
  return {
    operatorName: "$and",
    clausesNotSatisfied: failed.map(({ clause, index }) => ({
      index,
      details: clauseDetails(clause, doc),
    })),
  };
}

function clauseDetails(clause: Doc, doc: Doc): Doc {
  const name = Object.keys(clause)[0]!;
  if (name === "$jsonSchema") {
    return {
      operatorName: name,
      schemaRulesNotSatisfied: schemaRules(clause.$jsonSchema as Doc, doc),
    };
  }
  if (name[0] === "$") {
    return { operatorName: name, specifiedAs: clause, reason: REASONS[name] ?? "did not match" };
  }
  const condition = clause[name];
  const operatorName = isOperatorDoc(condition) ? Object.keys(condition)[0]! : "$eq";
  const value = valueAt(doc, name.split("."));
  if (value === undefined && operatorName !== "$exists") {
    return { operatorName, specifiedAs: clause, reason: "field was missing" };
  }
  return {
    operatorName,
    specifiedAs: clause,
    reason: REASONS[operatorName] ?? "comparison failed",
    ...(value === undefined ? {} : { consideredValue: value, consideredType: typeName(value) }),
  };
}

/** The keywords of a schema that a document does not meet; of `properties`, which ones. */
function schemaRules(schema: Doc, doc: Doc): Doc[] {
  const rules: Doc[] = [];
  for (const operatorName of Object.keys(schema)) {
    const rule = { ...schema };
    // Each keyword alone, but with those that change what it means.
    for (const other of Object.keys(rule)) {
      if (other !== operatorName && !RELATED.includes(other)) delete rule[other];
    }
    if (RELATED.includes(operatorName) || compileSchema(rule)(doc)) continue;
    const specifiedAs = { [operatorName]: schema[operatorName] };
    if (operatorName === "required") {
      const missing = (schema.required as string[]).filter((name) => !(name in doc));
      rules.push({ operatorName, specifiedAs, missingProperties: missing });
    } else if (operatorName === "properties") {
      rules.push({ operatorName, propertiesNotSatisfied: properties(schema, doc) });
    } else rules.push({ operatorName, specifiedAs, reason: "did not match" });
  }
  return rules;
}

const RELATED = ["title", "description", "exclusiveMinimum", "exclusiveMaximum", "additionalItems"];

function properties(schema: Doc, doc: Doc): Doc[] {
  const all = schema.properties as Doc;
  return Object.keys(all).filter((name) => name in doc && !compileSchema(all[name])(doc[name]))
    .map((propertyName) => ({
      propertyName,
      details: Object.keys(all[propertyName] as Doc)
        .filter((keyword) => !RELATED.includes(keyword))
        .filter((keyword) =>
          !compileSchema({ [keyword]: (all[propertyName] as Doc)[keyword] })(doc[propertyName])
        )
        .map((operatorName) => ({
          operatorName,
          specifiedAs: { [operatorName]: (all[propertyName] as Doc)[operatorName] },
          reason: "did not match",
          consideredValue: doc[propertyName],
          consideredType: typeName(doc[propertyName]),
        })),
    }));
}
