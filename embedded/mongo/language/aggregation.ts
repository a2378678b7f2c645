/**
 * mingo's aggregation language over this store's values.
 *
 * mingo knows JavaScript's types. What it would get wrong with BSON's (number types, order, equality) is replaced
 * here, in its own `Context`, before its operators are registered: the first of a name wins.
 * @module
 */
import { Aggregator } from "mingo/aggregator";
import { Context, evalExpr } from "mingo/core";
import * as accumulator from "mingo/operators/accumulator";
import * as expressions from "mingo/operators/expression";
import * as pipeline from "mingo/operators/pipeline";
import * as projections from "mingo/operators/projection";
import * as queries from "mingo/operators/query";
import * as windows from "mingo/operators/window";
import { CommandError } from "../errors.ts";
import type { Doc } from "../values/bson_view.ts";
import { isTrue } from "../values/field_checks.ts";
import { accumulatorOperators, expressionOperators } from "./expression_operators.ts";
import type { Predicate } from "./matcher.ts";
import { mentions } from "./mentions.ts";
import { stageOperators } from "./stages.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

const context: Any = Context.init({
  pipeline: stageOperators as Any,
  expression: expressionOperators as Any,
  accumulator: accumulatorOperators as Any,
});
context.addPipelineOps(pipeline as Any).addExpressionOps(expressions as Any)
  .addAccumulatorOps(accumulator as Any).addProjectionOps(projections as Any)
  .addQueryOps(queries as Any).addWindowOps(windows as Any);

// The class of mingo's prepared options is not exported, but every stage is given one.
const capturing: Any = Context.from(context).addPipelineOps({
  $capture: (input: Any, take: Any, prepared: Any) => {
    take(prepared);
    return input;
  },
} as Any);

function prepared(variables?: Doc): Any {
  let found: Any;
  const stage = { $capture: (given: Any) => found = given };
  new Aggregator([stage], { ...options(variables), context: capturing }).stream([]);
  return found;
}

/** Other collections, as a pipeline reads them. */
export interface Resolver {
  /** All documents of a collection. */
  (name: string): Doc[];
  /** Those with one of some values at a path, when an index finds them; undefined when none does. */
  indexed?: (name: string, path: string, values: unknown[]) => Doc[] | undefined;
}

function options(variables?: Doc, resolver?: Resolver): Any {
  return {
    context,
    // Code from a client must not run here.
    scriptEnabled: false,
    variables: variables ?? {},
    collectionResolver: resolver ?? (() => []),
  };
}

/** Run `work`, what mingo throws put as the server would. */
function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw translated(error);
  }
}

function translated(error: unknown): unknown {
  if (error instanceof CommandError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const unknown = /accumulator '(\$\w+)' is not registered/.exec(message);
  if (unknown) {
    return new CommandError("InvalidPipelineOperator", `Unrecognized expression '${unknown[1]}'`);
  }
  const stage = /unregistered pipeline operator (\S+)\./.exec(message);
  if (stage) {
    return new CommandError("Location40324", `Unrecognized pipeline stage name: '${stage[1]}'`);
  }
  const variable = /Use of undefined variable: (\w+)/.exec(message);
  if (variable) return new CommandError("Location17276", message);
  return new CommandError("BadValue", message);
}

/** Compile an expression to a function of a document. */
export function expression(value: unknown, variables?: Doc): (doc: Doc) => unknown {
  const opts = prepared(variables);
  return (doc) => guarded(() => evalExpr(doc as Any, value as Any, opts));
}

/** Compile an expression to a test, true as MongoDB means it. */
export function expressionTest(value: unknown, variables?: Doc): Predicate {
  const compute = expression(value, variables);
  return (doc) => isTrue(compute(doc));
}

/** Run a pipeline over documents, on demand. */
export function* aggregatePipeline(
  stages: Doc[],
  input: Iterable<Doc>,
  variables: Doc | undefined,
  resolver: Resolver,
): Generator<Doc, void> {
  // mingo's `$setWindowFields` is itself made of `$function`; nobody else may use that.
  const scriptEnabled = mentions(stages, "$setWindowFields");
  for (const name of ["$function", "$accumulator", "$where"]) {
    if (mentions(stages, name)) {
      throw new CommandError("NotImplemented", `${name} is not supported by the embedded store`);
    }
  }
  const given = { ...options(variables, resolver), scriptEnabled };
  const iterator = guarded(() =>
    new Aggregator(stages as Any, given).stream(input as Any)
  ) as unknown as { next(): { value?: Doc; done: boolean } };
  for (;;) {
    const next = guarded(() => iterator.next());
    if (next.done) return;
    yield next.value!;
  }
}
