import assert from "node:assert/strict";
import { MongoClient } from "mongodb";
import { layCable, start, startServers, unique } from "../lib/testing.ts";
import { freePort, sampleConfig } from "./testing/router.ts";

Deno.test("deno task reactor runs the sample's handlers on what is fired, until Ctrl-C", async () => {
  const data = await Deno.makeTempDir();
  // Not the sample's own ports: another reactor may be at work on this machine.
  const ports = { pull: freePort(), rep: freePort(), pub: freePort() };
  const config = `${data}/config.json`;
  await Deno.writeTextFile(config, JSON.stringify(sampleConfig(ports)));
  try {
    const args = ["--data", `${data}/state`, "-c", config];
    await using reactor = start(["task", "reactor", ...args], { env: { MONGO_URL: "" } });
    await reactor.seen(/local:zmq\.test -> func greeting\.greet: done, "zmq\.test says /);
    await reactor.seen(/local:zmq\.test -> shell echo the event is: done, /);
    await reactor.seen(/local:disk\.root -> pyfunc disk\.judge: done, .*"clean up"/);
    await reactor.seen(/local:disk\.home -> pyfunc disk\.judge: done, .*"fine"/);
    const uri = `tcp://127.0.0.1:${ports.rep}`;
    await using fire = start(["task", "fire", "-e", "disk.more", "-d", '{"used":1}', "-u", uri]);
    assert.equal((await fire.ended()).code, 0);
    await reactor.seen(/local:disk\.more -> pyfunc disk\.judge: done/);
    reactor.kill("SIGINT");
    const { code, stderr } = await reactor.ended();
    assert.equal(code, 0, stderr);
  } finally {
    await Deno.remove(data, { recursive: true });
  }
});

Deno.test("deno task reactor waits while MongoDB is away, and shows only what runs from now on", async () => {
  await using servers = await startServers();
  await using cable = layCable(servers.mongoUrl);
  const directory = await Deno.makeTempDir();
  const ports = { pull: freePort(), rep: freePort(), pub: freePort() };
  const config = `${directory}/config.json`;
  const database = unique("reactor").replaceAll(".", "-");
  const tasks = { database, task_collection: "results" };
  await Deno.writeTextFile(config, JSON.stringify({ ...sampleConfig(ports), tasks }));
  await using client = new MongoClient(servers.mongoUrl);
  const results = client.db(database).collection<{ _id: string }>("results");
  const old = {
    event: {},
    driver: "func",
    handler: "old.one",
    status: "done",
    finished: new Date(),
  };
  await results.insertOne({ _id: "old", ...old });
  try {
    await using reactor = start(["task", "reactor", "-c", config], {
      env: { MONGO_URL: cable.url },
    });
    await reactor.seen(/local:zmq\.test -> func greeting\.greet: done/);
    cable.cut("down");
    await reactor.seen(/reactor: Cannot use MongoDB/);
    cable.plug();
    const uri = `tcp://127.0.0.1:${ports.rep}`;
    await using fire = start(["task", "fire", "-e", "disk.after", "-d", '{"used":1}', "-u", uri]);
    assert.equal((await fire.ended()).code, 0);
    await reactor.seen(/local:disk\.after -> pyfunc disk\.judge: done/);
    assert.doesNotMatch(reactor.output.stdout, /old\.one/);
    reactor.kill("SIGINT");
    const { code, stderr } = await reactor.ended();
    assert.equal(code, 0, stderr);
  } finally {
    await client.db(database).dropDatabase();
    await Deno.remove(directory, { recursive: true });
  }
});
