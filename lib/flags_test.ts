import assert from "node:assert/strict";
import fc from "fast-check";
import { numberFlag, parseFlags, switchFlag, textFlag, UsageError } from "./flags.ts";
import { addressesOf, amqpUrlFlag, nameOf, parseMongoUrl, withoutPassword } from "./url.ts";

const usage = {
  name: "probe",
  about: "Probe.",
  arguments: "[words...]",
  flags: {
    amqpUrl: amqpUrlFlag,
    appId: textFlag("application", { default: "none" }),
    batchSize: numberFlag("size", { default: 5, min: 1, max: 10, whole: true, env: ["SIZE"] }),
    loud: switchFlag("say more"),
  },
};

async function parse(args: string[], env: Record<string, string> = {}) {
  const parsed = await parseFlags(usage, args, (name) => env[name]);
  assert("flags" in parsed, "help was shown");
  return parsed;
}

async function refusal(args: string[], env: Record<string, string> = {}): Promise<string> {
  try {
    await parse(args, env);
  } catch (error) {
    assert(error instanceof UsageError, `${error}`);
    return error.message;
  }
  assert.fail("it was accepted");
}

Deno.test("parseFlags() gives flags precedence over variables, and variables over defaults", async () => {
  assert.equal((await parse([])).flags.batchSize, 5);
  assert.equal((await parse([], { SIZE: "7" })).flags.batchSize, 7);
  assert.equal((await parse(["--batch-size", "9"], { SIZE: "7" })).flags.batchSize, 9);
  assert.equal((await parse([], { SIZE: "" })).flags.batchSize, 5);
});

Deno.test("parseFlags() reads the variables of existing installations, the first set one", async () => {
  const url = "amqp://u:p@host:1/v";
  for (const name of ["AMQP_URL", "AMQPURL", "RABBITMQ_URI"]) {
    assert.equal((await parse([], { [name]: url })).flags.amqpUrl, url);
  }
  assert.equal(
    (await parse([], { QUEUE_URL: "rabbit:5673" })).flags.amqpUrl,
    "amqp://guest:guest@rabbit:5673",
  );
  assert.equal((await parse([], { QUEUE_URL: "rabbit:5673", AMQP_URL: url })).flags.amqpUrl, url);
});

Deno.test("parseFlags() accepts the underscore spelling of a flag, but leaves words alone", async () => {
  assert.equal((await parse(["--app_id", "a_b"])).flags.appId, "a_b");
  assert.equal((await parse(["--app_id=a_b"])).flags.appId, "a_b");
  assert.deepEqual((await parse(["--", "--app_id", "x"])).words, ["--app_id", "x"]);
});

Deno.test("parseFlags() keeps any value and any words as they are", async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ minLength: 1 }), fc.array(fc.string()), async (value, words) => {
      const parsed = await parse([`--app-id=${value}`, "--", ...words]);
      assert.equal(parsed.flags.appId, value);
      assert.deepEqual(parsed.words, words);
    }),
  );
});

Deno.test("parseFlags() refuses unknown flags, missing values and numbers out of range, naming them", async () => {
  assert.match(await refusal(["--nope"]), /--nope/);
  assert.match(await refusal(["--app-id"]), /--app-id/);
  for (const bad of ["0", "11", "1.5", "x", "", "NaN"]) {
    assert.match(
      await refusal(["--batch-size", bad]),
      /--batch-size: expected a whole number from 1 to 10/,
    );
  }
  assert.match(await refusal([], { SIZE: "x" }), /SIZE: expected a whole number.*'x'/);
});

Deno.test("parseFlags() refuses a URL that is none, without showing its password", async () => {
  for (
    const url of [
      "amqp//u:s3cret@h",
      "http://u:s3cret@h",
      "amqp://u:s3cret@",
      "amqp://u:s3/cret@h:x",
      "amqp://u:s3cret%@h",
    ]
  ) {
    for (
      const message of [await refusal(["--amqp-url", url]), await refusal([], { AMQP_URL: url })]
    ) {
      assert.match(message, /expected amqp:\/\//);
      assert.doesNotMatch(message, /s3|cret/);
    }
  }
});

Deno.test("parseFlags() names flag, default and variables in the help", async () => {
  const parsed = await parseFlags(usage, ["--help"], () => undefined);
  assert("help" in parsed);
  assert.match(
    parsed.help.replace(/\s+/g, " "),
    /--batch-size <N> size \(default: 5\) \(env: SIZE\)/,
  );
});

Deno.test("withoutPassword() hides the user and password of every URL, whatever they hold", () => {
  const text = fc.string().filter((text) => !/[\s'"]/.test(text) && text.length > 8);
  fc.assert(fc.property(text, (password) => {
    const shown = withoutPassword(
      `at amqp://user:${password}@host/v and mongodb://u:${password}@host`,
    );
    assert.equal(shown, "at amqp://***@host/v and mongodb://***@host");
  }));
});

Deno.test("addressesOf() completes each node of a list with what the first one has", () => {
  const both = ["amqp://u:p@a:1/v?heartbeat=5", "amqp://u:p@b:2/v?heartbeat=5"];
  for (
    const list of [
      "amqp://u:p@a:1,b:2/v?heartbeat=5",
      "amqp://u:p@a:1/v?heartbeat=5,amqp://b:2",
      "amqp://u:p@a:1/v?heartbeat=5, amqp://u:p@b:2/v",
    ]
  ) assert.deepEqual(addressesOf(list), both);
  assert.deepEqual(addressesOf("amqp://u:p@a/v,amqp://x:y@b/w?frameMax=8192,c"), [
    "amqp://u:p@a/v",
    "amqp://x:y@b/w?frameMax=8192,c",
  ]);
  assert.deepEqual(addressesOf("amqp://[::1]:1,[::2]/v"), ["amqp://[::1]:1/v", "amqp://[::2]/v"]);
  // A comma in a password or a virtual host separates nothing.
  for (const url of ["amqp://u:p,q@a/v", "amqp://u:p@a/v,w"]) {
    assert.deepEqual(addressesOf(url), [url]);
  }
  assert.equal(nameOf("amqp://u:s3cret@a:1,b/v?heartbeat=5"), "amqp://a:1/v, amqp://b/v");
});

Deno.test("parseFlags() takes a list of nodes, and says what is wrong with one, without a password", async () => {
  const url = "amqp://u:p@a:1,b:2/v";
  assert.equal((await parse([], { AMQP_URL: url })).flags.amqpUrl, url);
  assert.equal(
    (await parse([], { QUEUE_URL: "a:1,b:2" })).flags.amqpUrl,
    "amqp://guest:guest@a:1,b:2",
  );
  for (
    const [list, expected] of [
      ["amqp://u:s3cret@a,", /an address in this list is empty/],
      ["amqp://u:s3cret@a,,b/v", /an address in this list is empty/],
      ["amqp://u:s3cret@a/v,,amqp://b", /an address in this list is empty/],
      [",amqp://u:s3cret@a", /an address in this list is empty/],
      ["amqp://u:s3cret@a/v,", /an address in this list is empty/],
      ["amqp://u:s3cret@a,amqps://b", /either all nodes are reached by amqp:\/\/, or all by amqps/],
      ["amqp://u:s3cret@a,http://b", /expected amqp:/],
      ["amqp://u:s3cret@a,b:x", /expected amqp:/],
      ["amqp://u:s3cret@a,amqp://", /an address in this list is empty/],
      ["amqp://u:s3cret@a?cacertfile=x", /certificates are for amqps:/],
    ] as const
  ) {
    const message = await refusal([], { AMQP_URL: list });
    assert.match(message, expected, list);
    assert.match(message, /^AMQP_URL: cannot use '/);
    assert.doesNotMatch(message, /s3cret/);
  }
  assert.equal(
    parseMongoUrl("mongodb://u:p@a,b:2/?replicaSet=r"),
    "mongodb://u:p@a,b:2/?replicaSet=r",
  );
  assert.equal(nameOf("mongodb://u:p@a,b:2/?replicaSet=r"), "mongodb://a,b:2");
  for (const hosts of ["", "a,", ",a", "a,,b"]) {
    const message = (error: Error) =>
      /expected mongodb:/.test(error.message) && !/s3/.test(`${error}`);
    assert.throws(() => parseMongoUrl(`mongodb://u:s3cret@${hosts}/db?x=y`), message);
  }
  assert.equal(
    withoutPassword("amqps://a?certfile=x&password=s3cret&x=y z"),
    "amqps://a?certfile=x&password=***&x=y z",
  );
});
