import assert from "node:assert/strict";
import { Decimal128, MaxKey, MinKey } from "bson";
import fc from "fast-check";
import { CommandError } from "../errors.ts";
import { compileFilter } from "../language/matcher.ts";
import { sortOrder } from "../language/sort_order.ts";
import { decode, type Doc, encode } from "../values/bson_view.ts";
import { Catalog } from "./catalog.ts";
import type { Collection } from "./collection.ts";
import { plan } from "./planner.ts";
import { matches } from "./scan.ts";

const scalar = fc.constantFrom<unknown>(
  0,
  1,
  2,
  3,
  1.5,
  2n,
  Decimal128.fromString("1.5"),
  NaN,
  "a",
  "b",
  null,
  true,
  new Date(0),
  new MinKey(),
  new MaxKey(),
);
const value = fc.oneof(
  { weight: 6, arbitrary: scalar },
  { weight: 1, arbitrary: fc.array(scalar, { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.record({ x: scalar, y: scalar }, { requiredKeys: [] }) },
  {
    weight: 1,
    arbitrary: fc.array(fc.record({ x: scalar, y: scalar }, { requiredKeys: [] }), {
      maxLength: 2,
    }),
  },
);
const doc = fc.record({ a: value, b: value, c: value }, { requiredKeys: [] });
const name = fc.constantFrom("a", "b", "c", "a.x", "a.y", "b.x");
const direction = fc.constantFrom(1, -1);
const key = fc.uniqueArray(fc.tuple(name, direction), {
  minLength: 1,
  maxLength: 3,
  selector: ([field]) => field,
}).map((pairs) => Object.fromEntries(pairs));
const condition = fc.oneof(
  value,
  fc.record({ $gt: scalar, $lt: scalar }, { requiredKeys: [] }).filter((c) =>
    Object.keys(c).length > 0
  ),
  fc.record({ $gte: scalar, $lte: scalar }, { requiredKeys: [] }).filter((c) =>
    Object.keys(c).length > 0
  ),
  fc.array(scalar, { maxLength: 3 }).map(($in) => ({ $in })),
  scalar.map(($ne) => ({ $ne })),
  fc.boolean().map(($exists) => ({ $exists })),
);
const conjunction = fc.dictionary(
  fc.constantFrom("a", "b", "c", "a.x", "a.y", "_id"),
  condition,
  { maxKeys: 3 },
);
const filter = fc.oneof(
  { weight: 4, arbitrary: conjunction },
  {
    weight: 1,
    arbitrary: fc.tuple(conjunction, fc.array(conjunction, { minLength: 1, maxLength: 3 }))
      .map(([rest, $or]): Record<string, unknown> => ({ ...rest, $or })),
  },
);
const indexOptions = fc.constantFrom<Doc>({}, {}, { sparse: true }, {
  partialFilterExpression: { b: { $gt: 1 } },
}, { partialFilterExpression: { c: { $exists: true } } });

function filled(docs: Doc[], indexes: [Doc, Doc][]): Collection | undefined {
  const catalog = new Catalog();
  const collection = catalog.ensure("t", "c");
  try {
    indexes.forEach(([indexKey, options], i) =>
      catalog.createIndex(collection, { key: indexKey, name: `i${i}`, ...options })
    );
    docs.forEach((one, i) => collection.insert(encode({ _id: i, ...one })));
    return collection;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    catalog.engine.close();
    return undefined; // two indexes of one key, or parallel arrays: not what this is about
  }
}

Deno.test("plan() finds through any indexes what a scan of all documents finds, in the order asked for", () => {
  let indexed = 0;
  let sorted = 0;
  let unions = 0;
  fc.assert(
    fc.property(
      fc.array(doc, { maxLength: 12 }),
      fc.array(fc.tuple(key, indexOptions), { maxLength: 3 }),
      filter,
      fc.option(key),
      (docs, indexes, condition, sort) => {
        const collection = filled(docs, indexes);
        if (!collection) return;
        const chosen = plan(collection, condition, { sort: sort ?? undefined });
        if (chosen.index) indexed++;
        if (chosen.union) unions++;
        if (chosen.index && sort && chosen.sorted) sorted++;
        const test = compileFilter(condition);
        const found = [...matches(collection, chosen, test, sort ?? undefined)]
          .map(({ row }) => decode(row.doc));
        const expected = docs.map((one, i): Doc => decode(encode({ _id: i, ...one }))).filter(test);
        const ids = (list: Doc[]) => list.map((one) => one._id as number).sort((a, b) => a - b);
        assert.deepEqual(ids(found), ids(expected));
        if (sort) {
          const order = sortOrder(sort);
          for (let i = 1; i < found.length; i++) {
            const [one, next] = [order.keys(found[i - 1]!), order.keys(found[i]!)];
            assert.ok(order.compare(one, next) <= 0, "out of order");
          }
        }
        collection.engine.close();
      },
    ),
    { numRuns: 3000 },
  );
  assert.ok(
    indexed > 300 && sorted > 30 && unions > 10,
    `too few: ${indexed}, ${sorted}, ${unions}`,
  );
});

Deno.test("plan() keeps indexes right through updates and deletes", () => {
  const change = fc.tuple(fc.nat(7), fc.option(doc));
  fc.assert(
    fc.property(
      fc.array(doc, { minLength: 8, maxLength: 8 }),
      fc.array(change, { maxLength: 8 }),
      key,
      filter,
      (docs, changes, indexKey, condition) => {
        const collection = filled(docs, [[indexKey, {}]]);
        if (!collection) return;
        const state = new Map(docs.map((one, i) => [i, one]));
        for (const [id, next] of changes) {
          const all = { index: undefined, intervals: [{ low: new Uint8Array(), high: undefined }] };
          const rows = [...matches(
            collection,
            { ...all, reverse: false, sorted: true, exact: true },
            () => true,
            undefined,
          )];
          const row = rows.find((one) => decode(one.row.doc)._id === id)?.row;
          if (!row) continue;
          try {
            if (next) collection.replace(row, encode({ _id: id, ...next }));
            else collection.remove(row);
          } catch (error) {
            if (!(error instanceof CommandError)) throw error;
            continue;
          }
          if (next) state.set(id, next);
          else state.delete(id);
        }
        const test = compileFilter(condition);
        const found = [...matches(collection, plan(collection, condition), test, undefined)]
          .map(({ row }) => decode(row.doc)._id as number).sort();
        const expected = [...state].filter(([id, one]) => test(decode(encode({ _id: id, ...one }))))
          .map(([id]) => id).sort();
        assert.deepEqual(found, expected);
        collection.engine.close();
      },
    ),
    { numRuns: 1000 },
  );
});

Deno.test("plan() reads few documents for equality, range, $in and sort on indexed fields", () => {
  const collection = filled(
    Array.from({ length: 500 }, (_, n) => ({ n, state: n % 5, at: new Date(n) })),
    [[{ n: 1 }, {}], [{ state: 1, at: -1 }, {}]],
  )!;
  const examined = (condition: Doc, sort: Doc | undefined, limit: number) => {
    const stats = { examined: 0 };
    const chosen = plan(collection, condition, { sort });
    let left = limit;
    for (const _ of matches(collection, chosen, compileFilter(condition), sort, stats)) {
      if (--left === 0) break;
    }
    return stats.examined;
  };
  assert.equal(examined({ _id: 7 }, undefined, 0), 1);
  assert.equal(examined({ n: 7 }, undefined, 0), 1);
  assert.equal(examined({ n: { $gte: 10, $lt: 20 } }, undefined, 0), 10);
  assert.equal(examined({ n: { $in: [1, 2, 999] } }, undefined, 0), 2);
  assert.equal(examined({ _id: { $in: [1, 2, 999] } }, undefined, 0), 2);
  assert.equal(examined({ $or: [{ n: 1 }, { n: 2, state: 2 }, { _id: 9 }] }, undefined, 0), 3);
  assert.equal(examined({ state: 3 }, { at: 1 }, 1), 1);
  assert.equal(examined({ state: 3 }, { at: -1 }, 1), 1);
  assert.equal(examined({}, { n: -1 }, 3), 3);
  assert.equal(examined({}, { _id: -1 }, 3), 3);
  assert.equal(examined({ state: 3, at: { $lt: new Date(100) } }, { at: -1 }, 2), 2);
  collection.engine.close();
});

Deno.test("plan() does not intersect the bounds of a range that two elements of an array may meet", () => {
  const collection = filled([{ a: [0, 5] }, { a: [7] }], [[{ a: 1 }, {}]])!;
  const condition = { a: { $gt: 1, $lt: 3 } };
  const chosen = plan(collection, condition);
  assert.ok(chosen.index);
  const found = [...matches(collection, chosen, compileFilter(condition), undefined)];
  assert.deepEqual(found.map(({ row }) => decode(row.doc)._id), [0]);
  collection.engine.close();
});
