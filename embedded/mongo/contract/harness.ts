/** What the tests of this folder share. @module */
import { Binary, BSONRegExp, Decimal128, Double, MaxKey, MinKey, ObjectId, Timestamp } from "bson";
import fc from "fast-check";
import { MongoClient, type MongoClientOptions, MongoServerError } from "mongodb";
import { startStore, type Store, type StoreOptions } from "../mod.ts";

const integers = [0, 1, -1, 2147483647, -2147483648, 7];
const longs = [0n, 1n, -1n, 9007199254740992n, 9007199254740993n, -9007199254740993n];
const limits = [2n ** 63n - 1n, -(2n ** 63n)];
const doubles = [0.5, -0, NaN, Infinity, -Infinity, 0.1, 9007199254740992, 9223372036854775807];
const decimals = ["0.1", "1", "1.0", "1E+1", "-0", "NaN", "Infinity", "-Infinity", "9E+6000"];
const more = [
  "-9007199254740993.25",
  "-9007199254740993.5",
  "9007199254740993.25",
  "1E-6000",
  "-9E+6000",
  "9007199254740993",
  "0.1000000000000000055511151231257827",
];

/** Any number of any BSON type; the awkward ones often. */
export const numberValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(...integers),
  fc.integer(),
  fc.constantFrom(...longs, ...limits),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(...doubles),
  fc.double(),
  fc.integer().map((value) => new Double(value)),
  fc.constantFrom(...decimals, ...more).map((text) => Decimal128.fromString(text)),
  fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e30, max: 1e30 })
    .map((value) => Decimal128.fromString(value.toPrecision(20))),
);

const scalar: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: numberValue },
  {
    weight: 2,
    arbitrary: fc.string({ unit: "binary", maxLength: 6 }).map((s) => s.toWellFormed()),
  },
  fc.constantFrom("", "a", "a\0", "a\0b", "ab", "\uffff", "\u{1f600}"),
  fc.constant(null),
  fc.boolean(),
  fc.date({ noInvalidDate: true }),
  fc.uint8Array({ minLength: 12, maxLength: 12 }).map((bytes) => new ObjectId(bytes)),
  fc.uint8Array({ maxLength: 5 }).map((bytes) => new Binary(bytes)),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => new Timestamp(value)),
  fc.constantFrom(new BSONRegExp("a", "i"), new BSONRegExp("b")),
  fc.constantFrom(new MinKey(), new MaxKey()),
);

/** Any BSON value, nested a little. */
export const anyValue: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    { weight: 5, arbitrary: scalar },
    { weight: 1, arbitrary: fc.array(tie("value"), { maxLength: 3 }) },
    {
      weight: 1,
      arbitrary: fc.array(fc.tuple(fc.constantFrom("a", "b", "a\u00e9", ""), tie("value")), {
        maxLength: 3,
      }).map((pairs) => Object.fromEntries(pairs)),
    },
  ),
})).value;

/** A client, and a database of its own that goes when the test is over. */
export interface Fixture extends AsyncDisposable {
  client: MongoClient;
  url: string;
  /** Name of a database that nobody else uses. */
  name: string;
  /** True when the server under test is this store. */
  embedded: boolean;
}

/** Connect to `MONGO_URL` if it is set, else to a store of this test's own. */
export async function setup(
  options: MongoClientOptions = {},
  storeOptions: StoreOptions = {},
): Promise<Fixture> {
  const real = Deno.env.get("MONGO_URL");
  const store: Store | undefined = real
    ? undefined
    : await startStore({ port: 0, ...storeOptions });
  const url = real ?? store!.url;
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 5000, ...options });
  await client.connect();
  const name = `event_sink_test_${crypto.randomUUID().replaceAll("-", "").slice(0, 20)}`;
  return {
    client,
    url,
    name,
    embedded: !real,
    async [Symbol.asyncDispose]() {
      await client.db(name).dropDatabase().catch(() => {});
      await client.close();
      await store?.[Symbol.asyncDispose]();
    },
  };
}

/** Wait until `condition` holds; fails after `limit` milliseconds with what was waited for. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limit = 10_000,
): Promise<void> {
  const end = Date.now() + limit;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`Gave up waiting: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The code of the error that work ends in; throws when it ends well, or in another than the server's. */
export async function errorCode(work: Promise<unknown>): Promise<number> {
  try {
    await work;
  } catch (error) {
    if (error instanceof MongoServerError) return Number(error.code);
    throw error;
  }
  throw new Error("It did not fail");
}
