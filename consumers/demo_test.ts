import assert from "node:assert/strict";
import { MongoClient } from "mongodb";
import { start, startServers } from "../lib/testing.ts";

Deno.test("the demo shows every event echoed and stored, and leaves nothing behind", async () => {
  await using servers = await startServers();
  await using demo = start(["task", "demo"], {
    env: { AMQP_URL: servers.amqpUrl, MONGO_URL: servers.mongoUrl },
  });
  const { code, stdout, stderr } = await demo.ended();
  assert.equal(code, 0, stderr);
  for (
    const line of [
      /sent +330/,
      /confirmed +330/,
      /echoed +330 +of 330/,
      /stored +330 +of 330/,
      /"message": "/,
      /deno task up/,
    ]
  ) {
    assert.match(stdout, line);
  }
  await using client = new MongoClient(servers.mongoUrl);
  const left = await client.db("clowder").listCollections().toArray();
  assert.deepEqual(left.filter(({ name }) => name.includes("demo-")), []);
});

Deno.test("the demo brings its own servers where none is given", async () => {
  await using demo = start(["task", "demo"], { env: { AMQP_URL: "", MONGO_URL: "" } });
  const { code, stdout } = await demo.ended();
  assert.equal(code, 0, stdout);
  assert.match(stdout, /Embedded broker and store are up/);
});

Deno.test("the demo ends with 1 and names what is missing when a server is not there", async () => {
  await using servers = await startServers();
  await using demo = start(["task", "demo"], {
    env: { AMQP_URL: "amqp://s:3cret@127.0.0.1:1", MONGO_URL: servers.mongoUrl },
  });
  const { code, stderr } = await demo.ended();
  assert.equal(code, 1);
  assert.match(
    stderr,
    /Cannot connect: nothing listens at amqp:\/\/127\.0\.0\.1:1 \(tried within 10 s\)/,
  );
  assert.doesNotMatch(stderr, /3cret/);
});
