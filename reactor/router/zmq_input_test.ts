import assert from "node:assert/strict";
import { freePort, hasPythonZmq, lines, setup } from "../testing/router.ts";

const ignore = !await hasPythonZmq();

/** Publishes an event over and over, numbered. */
const publish = `
import sys, zmq, time
socket = zmq.Context().socket(zmq.PUB)
socket.bind(sys.argv[1])
number = 0
while True:
    number += 1
    socket.send_json({"event_type": sys.argv[2], "payload": number})
    time.sleep(0.01)
`;

Deno.test({
  name:
    "an input of type SUB takes what another program publishes, which may come later and start anew",
  ignore,
}, async () => {
  const uri = `tcp://127.0.0.1:${freePort()}`;
  const config = { uri, type: "zmq.SUB" };
  await using test = await setup({
    change: ({ feeds }) => {
      feeds.feeders.push({ namespace: "other", handler: "ZMQInput", config } as never);
    },
  });
  const router = await test.router();
  await router.seen(RegExp(`Taking events \\(SUB\\) on ${uri}`));
  const sub = await test.subscriber(1e9);
  for (const type of ["first", "second"]) {
    const publisher = test.client(publish, uri, type);
    await sub.seen(RegExp(`"event_type": ?"${type}"`));
    await sub.seen(RegExp(`"event_type": ?"${type}".*\n.*"event_type": ?"${type}"`));
    publisher.kill("SIGKILL");
    await publisher.ended();
    await router.seen(RegExp(`Lost the publisher at ${uri}: trying again`));
  }
  assert.equal((await test.fire("-e", "fired")).code, 0);
  await sub.seen(/"event_type":"fired".*\n/);
  const events = lines(sub.output.stdout.replace("subscribed\n", ""));
  for (const type of ["first", "second"]) {
    const numbers = events.filter(({ event_type }) => event_type === type)
      .map(({ namespace, payload }) => {
        assert.equal(namespace, "other");
        return payload;
      });
    // What is published while nobody listens is gone; from then on, each comes once and in order.
    assert.deepEqual(numbers, numbers.map((_, index) => numbers[0] + index), type);
  }
  router.kill("SIGTERM");
  assert.equal((await router.ended()).code, 0);
});
