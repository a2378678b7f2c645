/**
 * One index: which documents it holds and under which keys, and its SQLite table.
 * https://www.mongodb.com/docs/manual/indexes/
 * @module
 */
import { CommandError } from "../errors.ts";
import { compileFilter, type Predicate } from "../language/matcher.ts";
import { arrayIndex, field, walkPath } from "../language/paths.ts";
import { decodeValue, type Doc, findElement } from "../values/bson_view.ts";
import { withStringOrder } from "../values/collation.ts";
import { isDoc } from "../values/compare.ts";
import { encodeKeys } from "../values/key_encoding.ts";

/** An index as `listIndexes` shows it. */
export interface IndexSpec {
  v: number;
  key: Doc;
  name: string;
  unique?: boolean;
  sparse?: boolean;
  hidden?: boolean;
  partialFilterExpression?: Doc;
  expireAfterSeconds?: unknown;
  background?: unknown;
  dropDups?: unknown;
  prepareUnique?: boolean;
  /** With all its fields; absent: the order of bytes. */
  collation?: Doc;
}

/** An index in use. */
export interface Index {
  readonly id: number;
  readonly table: string;
  spec: IndexSpec;
  readonly fields: string[];
  readonly paths: string[][];
  readonly descending: boolean[];
  readonly partial: Predicate | undefined;
  /** Names of the fields as UTF-8 when none is dotted: keys can then come from undecoded bytes. */
  readonly rawNames: Uint8Array[] | undefined;
  /** Some document has several keys here, so one field's bounds must not be intersected. */
  multikey: boolean;
  /** How many commands read along it. */
  reads: number;
}

/** Build the working form of an index. */
export function makeIndex(id: number, spec: IndexSpec, multikey: boolean): Index {
  const fields = Object.keys(spec.key);
  const plain = fields.every((name) => !name.includes(".")) && !spec.partialFilterExpression;
  return {
    id,
    table: `i_${id}`,
    spec,
    fields,
    paths: fields.map((name) => name.split(".")),
    descending: fields.map((name) => Number(spec.key[name]) < 0),
    partial: spec.partialFilterExpression ? compileFilter(spec.partialFilterExpression) : undefined,
    rawNames: plain ? fields.map((name) => new TextEncoder().encode(name)) : undefined,
    multikey,
    reads: 0,
  };
}

/**
 * The keys of a document from its bytes, when no field holds an array.
 * @returns undefined when the document has to be decoded for it
 */
export function rawKeys(index: Index, bytes: Uint8Array): Uint8Array[] | undefined {
  if (!index.rawNames) return undefined;
  const values: unknown[] = [];
  let found = false;
  for (const name of index.rawNames) {
    const element = findElement(bytes, 0, name);
    if (!element) {
      values.push(undefined);
      continue;
    }
    if (element.type === 0x04) return undefined;
    found = true;
    values.push(decodeValue(element.type, bytes, element.value, element.end));
  }
  if (index.spec.sparse && !found) return [];
  return [encodeKeys(values, index.descending)];
}

/** The keys of a decoded document: none when sparse or partial leaves it out, several when it holds arrays. */
export function documentKeys(index: Index, doc: Doc): Uint8Array[] {
  // By bytes, whatever collation the write has: an entry must be found again when it is to be removed.
  if (index.partial && !withStringOrder(undefined, () => index.partial!(doc))) return [];
  checkHashed(index, doc);
  const rows = expandRows(index, doc);
  if (index.spec.sparse) {
    if (!rows.some((row) => row.some((value) => value !== undefined))) return [];
  }
  const keys = new Map<string, Uint8Array>();
  for (const row of rows) {
    const key = encodeKeys(row, index.descending);
    keys.set(keyText(key), key);
  }
  return [...keys.values()];
}

// A hashed index here holds the values themselves, which find the same documents; arrays are refused, as on the server.
function checkHashed(index: Index, doc: Doc): void {
  const at = index.fields.findIndex((name) => index.spec.key[name] === "hashed");
  if (at < 0) return;
  walkPath(doc, index.paths[at]!, false, (value, position) => {
    if (position < 0 && !Array.isArray(value)) return false;
    throw new CommandError(
      "Location16766",
      `Error: hashed indexes do not currently support array values. Found array at path: ${
        index.fields[at]
      }`,
    );
  });
}

function keyText(key: Uint8Array): string {
  let text = "";
  for (const byte of key) text += String.fromCharCode(byte);
  return text;
}

/** One field of a row on its way down: `path` is what is left of it. */
interface Step {
  value: unknown;
  path: string[];
  done: boolean;
}

/**
 * Follow all paths of an index together until each stands on a value. An array on the way splits the row, once per
 * element, for all fields that lead through it: that is how `a.x` and `a.y` stay paired.
 */
function expandRows(index: Index, doc: Doc): unknown[][] {
  const rows: unknown[][] = [];
  const pending: Step[][] = [index.paths.map((path) => ({ value: doc, path, done: false }))];
  while (pending.length) {
    const steps = pending.pop()!.map(descend);
    const open = steps.filter((step) => !step.done);
    const array = open[0]?.value as unknown[] | undefined;
    if (!array) {
      rows.push(steps.map((step) => step.value));
      continue;
    }
    if (open.some((step) => step.value !== array)) {
      const names = index.fields.filter((_, i) => !steps[i]!.done);
      throw new CommandError(
        "CannotIndexParallelArrays",
        `cannot index parallel arrays [${names[1]}] [${names[0]}]`,
      );
    }
    const items = array.length ? array : [null];
    for (let i = items.length - 1; i >= 0; i--) {
      pending.push(steps.map((step) => step.done ? step : element(items[i], step.path)));
    }
  }
  return rows;
}

// A scalar in an array has nothing below it; an array in an array is a value.
function element(item: unknown, path: string[]): Step {
  if (path.length === 0) return { value: item, path, done: true };
  if (isDoc(item)) return { value: item, path, done: false };
  return { value: undefined, path: [], done: true };
}

// Down to a value (done) or to an array that has to be split (not done).
function descend(step: Step): Step {
  if (step.done) return step;
  let { value, path } = step;
  while (path.length) {
    if (Array.isArray(value)) {
      const position = arrayIndex(path[0]!);
      if (position < 0 || position >= value.length) return { value, path, done: false };
      value = value[position];
    } else if (isDoc(value)) value = field(value, path[0]!);
    else return { value: undefined, path: [], done: true };
    path = path.slice(1);
  }
  return { value, path, done: !Array.isArray(value) };
}
