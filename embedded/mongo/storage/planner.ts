/**
 * From filter and sort to a way through the data: the `_id` key, an index, or the whole collection.
 *
 * A plan yields a superset of what matches, so the filter is tested on every document it yields, unless `exact`.
 * @module
 */
import { compileFilter, isOperatorDoc } from "../language/matcher.ts";
import type { Doc } from "../values/bson_view.ts";
import { equal, isDoc, RANK, rankOf } from "../values/compare.ts";
import { afterPrefix, encodeKey, inverted } from "../values/key_encoding.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import type { Collection } from "./collection.ts";
import type { Index } from "./index.ts";

/** Keys from `low` up to but not including `high`; undefined: to the end. */
export interface Interval {
  low: Uint8Array;
  high: Uint8Array | undefined;
}

/** A way to read a collection. */
export interface Plan {
  /** Absent: documents in the order of insertion. `_id`: the key of the documents' own table. */
  index: Index | "_id" | undefined;
  intervals: Interval[];
  reverse: boolean;
  /** Documents come in the order that was asked for. */
  sorted: boolean;
  /** Every document that comes matches the filter. */
  exact: boolean;
  /** Instead of all the above: these plans one after another, a document of several counted once. */
  union?: Plan[];
}

/** What a filter demands of one field, for all documents that match. */
interface Bounds {
  equal?: unknown;
  hasEqual?: boolean;
  in?: unknown[];
  low?: { value: unknown; inclusive: boolean };
  high?: { value: unknown; inclusive: boolean };
}

const EVERYTHING: Interval = { low: new Uint8Array(0), high: undefined };

/** What goes with a filter when a way is chosen. */
export interface PlanOptions {
  sort?: Doc;
  /** Name of the index that must be used, or `$natural`. Default: the best one. */
  hint?: string;
  /** Strings do not compare by their bytes, so no index finds or orders them. Default: false. */
  collated?: boolean;
}

/** Choose how to read. */
export function plan(collection: Collection, filter: Doc, options: PlanOptions = {}): Plan {
  const { sort, hint, collated = false } = options;
  const bounds = new Map<string, Bounds>();
  collectBounds(filter, bounds, collated);
  const wantsSort = sort !== undefined && Object.keys(sort).length > 0;
  const natural: Plan = {
    // A clustered collection lies in the order of `_id`.
    index: collection.options.clusteredIndex ? "_id" : undefined,
    intervals: [EVERYTHING],
    reverse: false,
    sorted: !wantsSort,
    exact: Object.keys(filter).length === 0,
  };
  if (sort && isNum(sort.$natural)) {
    return { ...natural, sorted: true, reverse: toNumber(sort.$natural) < 0 };
  }
  if (hint === "$natural") return natural;
  if (hint !== undefined) {
    const hinted = hintedPlan(collection, hint, bounds, filter, options);
    if (hinted) return hinted;
  }
  const id = idPlan(bounds, filter, sort, wantsSort, collated);
  let best: { plan: Plan; score: number } = { plan: natural, score: 0 };
  if (id) {
    const narrow = id.intervals.length !== 1 || id.intervals[0] !== EVERYTHING;
    const points = bounds.get("_id")?.hasEqual || bounds.get("_id")?.in;
    best = { plan: id, score: points ? 1000 : narrow ? 25 : 5 };
  }
  for (const index of collection.indexes) {
    if (index.spec.hidden) continue;
    const candidate = indexPlan(index, bounds, filter, options);
    if (candidate && candidate.score > best.score) best = candidate;
  }
  if (best.plan !== natural) return best.plan;
  return unionPlan(collection, filter, wantsSort, collated) ?? best.plan;
}

/** The way along the index that a hint names: all of it, when the filter says nothing about its first field. */
function hintedPlan(
  collection: Collection,
  hint: string,
  bounds: Map<string, Bounds>,
  filter: Doc,
  options: PlanOptions,
): Plan | undefined {
  const { sort } = options;
  const wantsSort = sort !== undefined && Object.keys(sort).length > 0;
  const whole = { intervals: [EVERYTHING], reverse: false, sorted: !wantsSort, exact: false };
  if (hint === "_id_") {
    return idPlan(bounds, filter, sort, wantsSort, options.collated) ?? { ...whole, index: "_id" };
  }
  const index = collection.indexes.find(({ spec }) => spec.name === hint);
  if (!index) return undefined;
  // A sparse or partial index gives what it holds, incomplete as that may be: the hint asked for it.
  return indexPlan(index, bounds, filter, options)?.plan ?? { ...whole, index };
}

/** `$or` whose branches each have an index: read branch by branch. */
function unionPlan(
  collection: Collection,
  filter: Doc,
  wantsSort: boolean,
  collated: boolean,
): Plan | undefined {
  const { $or, ...rest } = filter;
  if (!Array.isArray($or) || !$or.length || $or.length > 100 || !$or.every(isDoc)) return undefined;
  const union: Plan[] = [];
  for (const branch of $or) {
    const one = plan(collection, { $and: [rest, branch] }, { collated });
    if (one.index === undefined && !one.union) return undefined;
    union.push(one);
  }
  const unused = { index: undefined, intervals: [], reverse: false };
  return { ...unused, sorted: !wantsSort, exact: false, union };
}

function collectBounds(filter: Doc, bounds: Map<string, Bounds>, collated: boolean): void {
  for (const name of Object.keys(filter)) {
    const condition = filter[name];
    if (name === "$and" && Array.isArray(condition)) {
      for (const branch of condition) if (isDoc(branch)) collectBounds(branch, bounds, collated);
    } else if (name[0] !== "$") {
      const own = bounds.get(name) ?? {};
      addBounds(own, condition, collated);
      bounds.set(name, own);
    }
  }
}

function indexable(value: unknown, collated: boolean): boolean {
  const rank = rankOf(value);
  if (collated && (rank === RANK.string || rank === RANK.object)) return false;
  return rank !== RANK.array && rank !== RANK.regex;
}

function addBounds(own: Bounds, condition: unknown, collated: boolean): void {
  const set = (value: unknown) => {
    if (!indexable(value, collated)) return;
    own.equal = value;
    own.hasEqual = true;
  };
  if (!isOperatorDoc(condition)) return set(condition);
  for (const operator of Object.keys(condition)) {
    const value = condition[operator];
    if (operator === "$eq") set(value);
    else if (operator === "$in") {
      if (Array.isArray(value) && value.every((item) => indexable(item, collated))) {
        own.in ??= value;
      }
    } else if (ranged(value, collated)) {
      if (operator === "$gt") own.low ??= { value, inclusive: false };
      if (operator === "$gte") own.low ??= { value, inclusive: true };
      if (operator === "$lt") own.high ??= { value, inclusive: false };
      if (operator === "$lte") own.high ??= { value, inclusive: true };
    }
  }
}

// The ends of the order and NaN have rules of their own, and are rare: no index for them.
function ranged(value: unknown, collated: boolean): boolean {
  const rank = rankOf(value);
  if (isNum(value) && Number.isNaN(toNumber(value))) return false;
  return indexable(value, collated) && rank !== RANK.minKey && rank !== RANK.maxKey &&
    rank !== RANK.null;
}

/** Intervals of one field's own keys, ascending; undefined when the filter says nothing about it. */
function fieldIntervals(own: Bounds | undefined, oneSided: boolean): Interval[] | undefined {
  if (!own) return undefined;
  if (own.hasEqual) return [point(encodeKey(own.equal))];
  if (own.in) {
    const keys = own.in.map((value) => encodeKey(value)).sort(compareBytes);
    const unique = keys.filter((key, i) => i === 0 || compareBytes(key, keys[i - 1]!) !== 0);
    return unique.map(point);
  }
  const { low } = own;
  // Several keys per document: `$gt: 1, $lt: 3` may be met by two different elements.
  const high = low && oneSided ? undefined : own.high;
  if (!low && !high) return undefined;
  const rank = rankOf((low ?? high)!.value);
  if (low && high && rankOf(high.value) !== rank) return [];
  const from = low
    ? (low.inclusive ? encodeKey(low.value) : afterPrefix(encodeKey(low.value)))
    : Uint8Array.of(rank);
  const to = high
    ? (high.inclusive ? afterPrefix(encodeKey(high.value)) : encodeKey(high.value))
    : Uint8Array.of(rank + 1);
  return [{ low: from!, high: to }];
}

function point(key: Uint8Array): Interval {
  return { low: key, high: afterPrefix(key) };
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}

function idPlan(
  bounds: Map<string, Bounds>,
  filter: Doc,
  sort: Doc | undefined,
  wantsSort: boolean,
  collated = false,
): Plan | undefined {
  const own = bounds.get("_id");
  const intervals = fieldIntervals(own, false);
  const order = wantsSort && !collated
    ? sortDirection([{ name: "_id", descending: false }], sort!)
    : 0;
  if (!intervals && !order) return undefined;
  const alone = Object.keys(filter).length === 1 && "_id" in filter;
  const operators = own && isOperatorDoc(filter._id) ? Object.keys(filter._id as Doc) : ["$eq"];
  return {
    index: "_id",
    intervals: intervals ?? [EVERYTHING],
    reverse: order < 0,
    // One document is sorted however one asks.
    sorted: !wantsSort || order !== 0 || !!own?.hasEqual,
    exact: (alone && !!intervals && operators.length === 1 &&
      indexable(filter._id, collated)) ||
      Object.keys(filter).length === 0,
  };
}

/** 1 or -1 when the fields, read forward or backward, begin with the sort; else 0. */
function sortDirection(
  fields: { name: string; descending: boolean }[],
  sort: Doc,
): number {
  let direction = 0;
  const names = Object.keys(sort);
  if (names.length > fields.length) return 0;
  for (let i = 0; i < names.length; i++) {
    const value = sort[names[i]!];
    if (!isNum(value) || fields[i]!.name !== names[i]) return 0;
    const same = (toNumber(value) < 0) === fields[i]!.descending ? 1 : -1;
    if (direction && same !== direction) return 0;
    direction = same;
  }
  return direction;
}

function indexPlan(
  index: Index,
  bounds: Map<string, Bounds>,
  filter: Doc,
  { sort, collated }: PlanOptions,
): { plan: Plan; score: number } | undefined {
  const wantsSort = sort !== undefined && Object.keys(sort).length > 0;
  if (index.partial && !impliesPartial(index, bounds, filter)) return undefined;
  const { fields, descending, multikey } = index;
  let prefix = new Uint8Array(0);
  let equals = 0;
  let intervals: Interval[] | undefined;
  let nullable = true;
  for (let i = 0; i < fields.length; i++) {
    const own = bounds.get(fields[i]!);
    const found = fieldIntervals(own, multikey);
    if (!found) break;
    if (canBeMissing(own!)) {
      if (index.spec.sparse && fields.length === 1) return undefined;
    } else nullable = false;
    const mapped = (descending[i] ? found.map(invertInterval).reverse() : found)
      .map((interval) => joined(prefix, interval));
    if (own!.hasEqual && !multikey) {
      prefix = concat(
        prefix,
        descending[i] ? inverted(encodeKey(own!.equal)) : encodeKey(own!.equal),
      );
      equals++;
      intervals = mapped;
      continue;
    }
    intervals = mapped;
    break;
  }
  if (index.spec.sparse && nullable) return undefined;
  let order = 0;
  if (wantsSort && !multikey && !collated && (intervals?.length ?? 1) === 1) {
    const rest = fields.map((name, i) => ({ name, descending: descending[i]! }));
    // Fields fixed by equality may be left out of the sort, or stand in it.
    const wanted = Object.fromEntries(
      Object.entries(sort!).filter(([name]) => !fields.slice(0, equals).includes(name)),
    );
    order = Object.keys(wanted).length ? sortDirection(rest.slice(equals), wanted) : 1;
  }
  if (!intervals && !order) return undefined;
  const ranged = intervals && intervals.length >= 1 && equals === 0;
  const score = equals * 100 + (intervals ? 20 : 0) + (ranged ? 10 : 0) + (order ? 15 : 0) +
    (index.spec.unique && equals === fields.length ? 50 : 0);
  return {
    plan: {
      index,
      intervals: intervals ?? [EVERYTHING],
      reverse: order < 0,
      sorted: !wantsSort || order !== 0,
      exact: false,
    },
    score,
  };
}

function canBeMissing(own: Bounds): boolean {
  if (own.hasEqual) return own.equal === null;
  return !!own.in?.some((value) => value === null);
}

/** Every document that matches the filter is in the partial index. */
function impliesPartial(index: Index, bounds: Map<string, Bounds>, filter: Doc): boolean {
  const expression = index.spec.partialFilterExpression!;
  return Object.keys(expression).every((name) => {
    if (name[0] === "$") return false;
    const condition = expression[name];
    if (name in filter && equal(filter[name], condition)) return true;
    const own = bounds.get(name);
    // An equality with null is met by documents that have no such field, which the index may lack.
    if (!own || canBeMissing(own)) return false;
    const single: Doc = { [name]: condition };
    if (name.includes(".")) return false;
    const test = compileFilter(single);
    if (own.hasEqual) return test({ [name]: own.equal });
    if (own.in) return own.in.every((value) => test({ [name]: value }));
    if (!own.low && !own.high) return false;
    // A range implies that the field is there, and a wider range of the same kind.
    if (equal(condition, { $exists: true })) return true;
    if (!isOperatorDoc(condition)) return false;
    const [operator, ...more] = Object.keys(condition);
    if (more.length) return false;
    const edge = operator === "$gt" || operator === "$gte" ? own.low : own.high;
    if (!edge || !/^\$[gl]te?$/.test(operator!)) return false;
    return test({ [name]: edge.value }) ||
      (!edge.inclusive && equal(edge.value, condition[operator!]));
  });
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

function joined(prefix: Uint8Array, interval: Interval): Interval {
  return {
    low: concat(prefix, interval.low),
    high: interval.high ? concat(prefix, interval.high) : afterPrefix(prefix),
  };
}

/**
 * The same keys once every byte is inverted. A cut before all keys that begin with p becomes the cut after all
 * keys that begin with inverted p; so the two ends change places.
 */
function invertInterval({ low, high }: Interval): Interval {
  return {
    low: high ? afterPrefix(inverted(high)) ?? inverted(high) : new Uint8Array(0),
    high: afterPrefix(inverted(low)),
  };
}
