import assert from "node:assert/strict";
import { start } from "../lib/testing.ts";

Deno.test("deno task reactor runs the sample's handlers on what is fired, until Ctrl-C", async () => {
  const data = await Deno.makeTempDir();
  try {
    await using reactor = start(["task", "reactor", "--data", data], { env: { MONGO_URL: "" } });
    await reactor.seen(/local:zmq\.test -> func greeting\.greet: done, "zmq\.test says /);
    await reactor.seen(/local:zmq\.test -> shell echo the event is: done, /);
    await reactor.seen(/local:disk\.root -> pyfunc disk\.judge: done, .*"clean up"/);
    await reactor.seen(/local:disk\.home -> pyfunc disk\.judge: done, .*"fine"/);
    await using fire = start(["task", "fire", "-e", "disk.more", "-d", '{"used":1}']);
    assert.equal((await fire.ended()).code, 0);
    await reactor.seen(/local:disk\.more -> pyfunc disk\.judge: done/);
    reactor.kill("SIGINT");
    const { code, stderr } = await reactor.ended();
    assert.equal(code, 0, stderr);
  } finally {
    await Deno.remove(data, { recursive: true });
  }
});
