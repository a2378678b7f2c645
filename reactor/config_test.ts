import assert from "node:assert/strict";
import { parseConfig, parseDatabase } from "./config.ts";
import { sampleConfig } from "./testing/router.ts";

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
    database: {
      url: "mongodb://127.0.0.1:27017",
      name: "eventreactor",
      results: "task_collection",
    },
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
    /^TypeError: outputs\.0\.config\.port: /,
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
  assert.throws(wrong((c) => c.curve = curve([])), /^TypeError: curve\.client_keys: /);
  assert.throws(wrong((c) => c.curve = curve([secret])), /curve\.client_keys\.0: expected a key/);
  assert.throws(wrong((c) => c.logging.loglevel = "loud"), /logging\.loglevel: /);
});

Deno.test("parseDatabase() reads the section 'tasks' or 'celery', whatever the rest is", () => {
  const read = (file: unknown) => parseDatabase(JSON.stringify(file));
  const names = { name: "eventreactor", results: "task_collection" };
  assert.deepEqual(read({ feeds: 1 }), { url: undefined, ...names });
  assert.deepEqual(read({ celery: {} }), { url: "mongodb://127.0.0.1:27017", ...names });
  const celery = { host: "h", database: "d", task_collection: "r" };
  assert.deepEqual(read({ celery }), { url: "mongodb://h:27017", name: "d", results: "r" });
  const url = (section: unknown) => read({ celery, tasks: section }).url;
  assert.equal(url({ host: "::1", port: 1 }), "mongodb://[::1]:1");
  assert.equal(
    url({ username: "a@b", password: "p:/?#%" }),
    "mongodb://a%40b:p%3A%2F%3F%23%25@127.0.0.1:27017",
  );
  assert.equal(url({ url: "mongodb+srv://h/x" }), "mongodb+srv://h/x");
  const wrong: [unknown, RegExp][] = [
    [{ port: 0 }, /^tasks\.port: /],
    [{ host: "" }, /^tasks\.host: /],
    [{ database: "" }, /^tasks\.database: /],
    [{ protocol: "redis" }, /^tasks\.protocol: /],
    [{ url: "http://u:hunter2@h" }, /^tasks\.url: expected mongodb:/],
    [{ username: "u", password: { hunter2: 1 } }, /^tasks\.password: expected a text$/],
  ];
  for (const [section, expected] of wrong) {
    assert.throws(() => url(section), ({ message }: Error) => {
      assert.match(message, expected);
      return !message.includes("hunter2");
    });
  }
});

Deno.test("parseDatabase() names the line of what is not JSON, and shows no password", () => {
  const lines = (second: string) => `{\n"celery":\n ${second}, "port": 5},\n"feeds":{}\n}`;
  for (
    const [json, expected] of [
      [lines('{ "password": hunter2'), /^it is not JSON: Unexpected token 'h' in line 3$/],
      [lines('{ "password":\n hunter2'), /line 4$/],
      [lines('{ "password": "hunter2'), /line 3/],
      ["hunter2", /^it is not JSON: Unexpected token 'h' in line 1$/],
      ["", /end of JSON/],
    ] as const
  ) {
    assert.throws(() => parseDatabase(json), ({ message }: Error) => {
      assert.match(message, expected);
      return !message.includes("hunter2");
    });
  }
});
