import assert from "node:assert/strict";
import { parseConfig } from "./config.ts";
import { sampleConfig } from "./testing.ts";

const sample = () =>
  structuredClone(sampleConfig({
    pull: 45454,
    rep: 55055,
    pub: 55000,
    amqpUrl: "amqp://guest@localhost",
    mongoUrl: "mongodb://127.0.0.1:27017",
    database: "eventreactor",
    // deno-lint-ignore no-explicit-any
  })) as any;

Deno.test("parseConfig() reads an existing file", () => {
  const { notes, amqp, ...config } = parseConfig(JSON.stringify(sample()));
  assert.deepEqual(config, {
    pull: "tcp://*:45454",
    zmq: [{ namespace: "local", uri: "tcp://*:55055", type: "REP" }],
    publish: ["tcp://*:55000"],
    mongo: { url: "mongodb://127.0.0.1:27017", database: "eventreactor" },
    keep: undefined,
    logLevel: "info",
    curve: undefined,
  });
  assert.deepEqual(amqp[0]!.bindings, ["keystone", "nova"]);
  assert.deepEqual(notes, ["celery.task_imports means nothing here and is ignored"]);
});

Deno.test("parseConfig() listens on loopback unless told otherwise, and skips a disabled feeder of any kind", () => {
  const config = sample();
  delete config.aggregator.config.listen_address;
  delete config.outputs[0].config.listen_address;
  config.feeds.feeders = [{ handler: "Unknown", disabled: true }];
  const { pull, publish, zmq, notes } = parseConfig(JSON.stringify(config));
  assert.deepEqual([pull, publish, zmq], ["tcp://127.0.0.1:45454", ["tcp://127.0.0.1:55000"], []]);
  assert.equal(notes[0], "feeds.feeders.0 (Unknown) is disabled");
});

Deno.test("parseConfig() names the key that is wrong", () => {
  // deno-lint-ignore no-explicit-any
  const wrong = (change: (config: any) => void) => {
    const config = sample();
    change(config);
    return () => parseConfig(JSON.stringify(config));
  };
  assert.throws(() => parseConfig("{"), /not JSON/);
  assert.throws(() => parseConfig("[]"), /outputs/);
  assert.throws(
    wrong((c) => c.outputs[0].config.port = "x"),
    /^UsageError: outputs\.0\.config\.port: /,
  );
  assert.throws(wrong((c) => c.feeds.feeders[0].handler = "X"), /feeds\.feeders\.0\.handler: /);
  assert.throws(wrong((c) => c.feeds.feeders[1].config.type = "zmq.X"), /1\.config\.type: /);
  assert.throws(wrong((c) => c.celery.protocol = "redis"), /celery\.protocol: /);
  const secret = "s".repeat(39);
  assert.throws(wrong((c) => c.curve = { secret_key: secret }), ({ message }: Error) => {
    assert(!message.includes("sss"));
    return /^curve\.secret_key: expected a key, 40/.test(message);
  });
  const curve = (client_keys: string[]) => ({ secret_key: `${secret}s`, client_keys });
  assert.throws(wrong((c) => c.curve = curve([])), /^UsageError: curve\.client_keys: /);
  assert.throws(wrong((c) => c.curve = curve([secret])), /curve\.client_keys\.0: expected a key/);
  assert.throws(wrong((c) => c.logging.loglevel = "loud"), /logging\.loglevel: /);
});
