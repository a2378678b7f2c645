import assert from "node:assert/strict";
import { connectMongo, createLog } from "@event-sink/lib";
import { deserialize, serialize } from "bson";
import { startServers, unique } from "../../lib/testing.ts";
import { batchWriter } from "./batch.ts";

/** A relay in front of the store that puts errors into its first answer to an insert: no server can be asked to fail that way. */
function relay(mongoUrl: string, writeErrors: { index: number; code: number; errmsg: string }[]) {
  const { hostname, port } = new URL(mongoUrl);
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let failing = true;
  (async () => {
    for await (const near of listener) {
      const far = await Deno.connect({ hostname, port: Number(port || 27017) });
      near.readable.pipeTo(far.writable).catch(() => {});
      far.readable.pipeThrough(replies(changed)).pipeTo(near.writable).catch(() => {});
    }
  })();
  /** An OP_MSG with one document (https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/#op_msg). */
  function changed(message: Uint8Array): Uint8Array {
    // The answer to the driver's first message is of an older form.
    if (new DataView(message.buffer, message.byteOffset).getInt32(12, true) !== 2013) {
      return message;
    }
    const reply = deserialize(message.subarray(21));
    if (!failing || reply.n === undefined) return message;
    failing = false;
    const body = serialize({ ...reply, n: reply.n - writeErrors.length, writeErrors });
    const whole = new Uint8Array(21 + body.length);
    whole.set(message.subarray(0, 21));
    whole.set(body, 21);
    new DataView(whole.buffer).setInt32(0, whole.length, true);
    return whole;
  }
  return {
    url: `mongodb://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
    [Symbol.dispose]: () => listener.close(),
  };
}

function replies(change: (message: Uint8Array) => Uint8Array) {
  let rest = new Uint8Array();
  return new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, out) {
      let bytes = new Uint8Array(rest.length + chunk.length);
      bytes.set(rest);
      bytes.set(chunk, rest.length);
      while (bytes.length >= 4) {
        const length = new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true);
        if (bytes.length < length) break;
        out.enqueue(change(bytes.slice(0, length)));
        bytes = bytes.slice(length);
      }
      rest = bytes;
    },
  });
}

async function setup(errors: Parameters<typeof relay>[1]) {
  await using stack = new AsyncDisposableStack();
  const servers = stack.use(await startServers());
  const { url } = stack.use(relay(servers.mongoUrl, errors));
  const log = createLog({ name: "test", level: "error" });
  const { signal } = new AbortController();
  const mongo = stack.use(await connectMongo({ url, signal, log }));
  const db = mongo.client.db(unique("batch").replaceAll(".", "_"));
  stack.defer(async () => void await db.dropDatabase());
  const collection = db.collection<{ _id: string }>("events");
  const refused = (error: Error) => assert.fail(error.message);
  const options = { size: 3, delay: 5, refused, signal, log };
  const write = batchWriter(collection as unknown as Parameters<typeof batchWriter>[0], options);
  const owned = stack.move();
  return {
    writeAll: (ids: string[]) => Promise.allSettled(ids.map((_id) => write({ _id: _id as never }))),
    ids: async () => (await collection.find().sort({ _id: 1 }).toArray()).map(({ _id }) => _id),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test("documents that fail for a reason of the server's are written again, and stored once", async () => {
  await using test = await setup([
    { index: 1, code: 133, errmsg: "no primary" }, // FailedToSatisfyReadPreference
    { index: 2, code: 365, errmsg: "stale" }, // an error of a shard
  ]);
  const outcomes = await test.writeAll(["a", "b", "c"]);
  assert.deepEqual(outcomes.map(({ status }) => status), Array(3).fill("fulfilled"));
  assert.deepEqual(await test.ids(), ["a", "b", "c"]);
});

Deno.test("a document that is at fault itself is refused alone, with the reason", async () => {
  await using test = await setup([{ index: 1, code: 121, errmsg: "it fails validation" }]);
  const outcomes = await test.writeAll(["a", "b", "c"]);
  assert.deepEqual(outcomes.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
  assert.equal(
    `${(outcomes[1] as PromiseRejectedResult).reason}`,
    "BadMessage: MongoDB cannot take the document: it fails validation",
  );
});
