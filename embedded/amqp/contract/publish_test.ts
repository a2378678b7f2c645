import assert from "node:assert/strict";
import { bytes, getAll, publishAll, setup, texts, until } from "./harness.ts";

Deno.test("a direct exchange routes by key, a fanout to all, a topic by pattern", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const [direct, fanout, topic] = [s.name(), s.name(), s.name()];
  await channel.assertExchange(direct, "direct");
  await channel.assertExchange(fanout, "fanout");
  await channel.assertExchange(topic, "topic");
  const [a, b] = [s.name(), s.name()];
  for (const queue of [a, b]) await channel.assertQueue(queue);
  await channel.bindQueue(a, direct, "x");
  await channel.bindQueue(b, direct, "x");
  await channel.bindQueue(b, direct, "y");
  await channel.bindQueue(a, fanout, "ignored");
  await channel.bindQueue(a, topic, "*.critical");
  await channel.bindQueue(a, topic, "kern.#");
  await channel.bindQueue(b, topic, "#");
  await publishAll(channel, direct, "x", ["dx"]);
  await publishAll(channel, direct, "y", ["dy"]);
  await publishAll(channel, fanout, "any", ["f"]);
  for (const key of ["kern.critical", "kern", "kern.a.b", "a.critical", "a.b.critical", ""]) {
    await publishAll(channel, topic, key, [`t:${key}`]);
  }
  assert.deepEqual(texts(await getAll(channel, a)), [
    "dx",
    "f",
    "t:kern.critical",
    "t:kern",
    "t:kern.a.b",
    "t:a.critical",
  ]);
  assert.deepEqual(texts(await getAll(channel, b)), [
    "dx",
    "dy",
    "t:kern.critical",
    "t:kern",
    "t:kern.a.b",
    "t:a.critical",
    "t:a.b.critical",
    "t:",
  ]);
});

Deno.test("a headers exchange matches all or any, x- headers only when asked", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const exchange = s.name();
  await channel.assertExchange(exchange, "headers");
  const bindings: Record<string, Record<string, unknown>> = {
    all: { "x-match": "all", a: 1, b: "two" },
    any: { "x-match": "any", a: 1, b: "two" },
    allX: { "x-match": "all-with-x", "x-a": 1 },
    anyX: { "x-match": "any-with-x", "x-a": 1, b: "two" },
    plainX: { "x-match": "all", "x-a": 1, a: 1 },
    none: { "x-match": "all" },
    noneAny: { "x-match": "any" },
    present: { a: null },
  };
  const queues: Record<string, string> = {};
  for (const [name, args] of Object.entries(bindings)) {
    const queue = queues[name] = s.name();
    await channel.assertQueue(queue);
    await channel.bindQueue(queue, exchange, "", args);
  }
  await publishAll(channel, exchange, "", ["1"], { headers: { a: 1, b: "two" } });
  await publishAll(channel, exchange, "", ["2"], { headers: { a: 1 } });
  await publishAll(channel, exchange, "", ["3"], { headers: { "x-a": 1 } });
  await publishAll(channel, exchange, "", ["4"], { headers: { a: "1", b: 2 } });
  await publishAll(channel, exchange, "", ["5"]);
  const found: Record<string, string> = {};
  for (const [name, queue] of Object.entries(queues)) {
    found[name] = texts(await getAll(channel, queue)).join("");
  }
  assert.deepEqual(found, {
    all: "1",
    any: "12",
    allX: "3",
    anyX: "13",
    plainX: "12",
    none: "12345",
    noneAny: "",
    present: "124",
  });
});

Deno.test("a queue bound twice gets one copy; unbinding ends it", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const [exchange, queue] = [s.name(), s.name()];
  await channel.assertExchange(exchange, "topic");
  await channel.assertQueue(queue);
  await channel.bindQueue(queue, exchange, "a.*");
  await channel.bindQueue(queue, exchange, "a.*");
  await channel.bindQueue(queue, exchange, "#");
  await publishAll(channel, exchange, "a.b", ["1"]);
  await channel.unbindQueue(queue, exchange, "a.*");
  await publishAll(channel, exchange, "a.b", ["2"]);
  await channel.unbindQueue(queue, exchange, "#");
  await channel.unbindQueue(queue, exchange, "#");
  await publishAll(channel, exchange, "a.b", ["3"]);
  assert.deepEqual(texts(await getAll(channel, queue)), ["1", "2"]);
});

Deno.test("exchanges bound to exchanges pass messages on, also in a circle", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const [x, y, queue] = [s.name(), s.name(), s.name()];
  await channel.assertExchange(x, "topic");
  await channel.assertExchange(y, "direct");
  await channel.assertQueue(queue);
  await channel.bindExchange(y, x, "a.#");
  await channel.bindExchange(x, y, "a.b");
  await channel.bindQueue(queue, y, "a.b");
  await publishAll(channel, x, "a.b", ["1"]);
  await publishAll(channel, x, "a.c", ["2"]);
  await channel.unbindExchange(y, x, "a.#");
  await publishAll(channel, x, "a.b", ["3"]);
  assert.deepEqual(texts(await getAll(channel, queue)), ["1"]);
});

Deno.test("an alternate exchange takes what is not routed", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const [x, alternate, queue, rest] = [s.name(), s.name(), s.name(), s.name()];
  await channel.assertExchange(alternate, "fanout");
  await channel.assertExchange(x, "direct", { alternateExchange: alternate });
  await channel.assertQueue(queue);
  await channel.assertQueue(rest);
  await channel.bindQueue(queue, x, "k");
  await channel.bindQueue(rest, alternate, "");
  await publishAll(channel, x, "k", ["1"], { mandatory: true });
  await publishAll(channel, x, "other", ["2"], { mandatory: true });
  assert.deepEqual(texts(await getAll(channel, queue)), ["1"]);
  assert.deepEqual(texts(await getAll(channel, rest)), ["2"]);
});

Deno.test("an auto-delete exchange goes with its last binding", async () => {
  await using s = await setup();
  const channel = await s.channel();
  const [x, queue] = [s.name(), s.name()];
  await channel.assertExchange(x, "direct", { autoDelete: true });
  await channel.assertQueue(queue);
  await channel.bindQueue(queue, x, "a");
  await channel.unbindQueue(queue, x, "a");
  assert.equal((await s.closeOfChannel((c) => c.checkExchange(x))).code, 404);
});

Deno.test("an unroutable mandatory message comes back before its confirm", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const events: string[] = [];
  channel.on("return", (message) => {
    const { replyCode, replyText, exchange, routingKey } = message.fields as unknown as Record<
      string,
      string
    >;
    events.push(`return ${replyCode} ${replyText} '${exchange}' ${routingKey} ${message.content}`);
  });
  channel.publish("amq.direct", "nowhere", bytes("x"), { mandatory: true }, (error) => {
    events.push(error ? "nack" : "ack");
  });
  await until(() => events.length === 2);
  assert.deepEqual(events, ["return 312 NO_ROUTE 'amq.direct' nowhere x", "ack"]);
});

Deno.test("every publish is confirmed, routed or not, persistent or not", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const queue = s.name();
  await channel.assertQueue(queue);
  let confirmed = 0;
  for (let i = 0; i < 500; i++) {
    channel.publish(
      "",
      i % 3 ? queue : "nowhere",
      bytes(String(i)),
      { persistent: i % 2 === 0 },
      (error) => {
        if (!error) confirmed++;
      },
    );
  }
  await channel.waitForConfirms();
  assert.equal(confirmed, 500);
  assert.equal(await s.count(queue), 333);
});

Deno.test("CC and BCC name further keys; BCC is not shown", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const [a, b, c] = [s.name(), s.name(), s.name()];
  for (const queue of [a, b, c]) await channel.assertQueue(queue);
  await publishAll(channel, "", a, ["x"], { headers: { h: 1 }, CC: [b], BCC: [c] });
  for (const queue of [a, b, c]) {
    const [message] = await getAll(channel, queue);
    assert.ok(message, queue);
    assert.equal(message.fields.routingKey, a);
    assert.deepEqual(message.properties.headers, { h: 1, CC: [b] });
  }
});

Deno.test("a rejected message is dead-lettered with its story", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const [x, queue, dead] = [s.name(), s.name(), s.name()];
  await channel.assertExchange(x, "direct");
  await channel.assertQueue(dead);
  await channel.bindQueue(dead, x, "dead");
  await channel.assertQueue(queue, { deadLetterExchange: x, deadLetterRoutingKey: "dead" });
  await channel.bindQueue(queue, "amq.direct", queue);
  const version4 = await s.isVersion4();
  const before = Math.floor(Date.now() / 1000);
  await publishAll(channel, "amq.direct", queue, ["x"], { headers: { h: 1 }, expiration: "60000" });
  for (let round = 1; round <= 2; round++) {
    const message = await channel.get(queue);
    assert.ok(message);
    channel.reject(message, false);
    await until(async () => await s.count(dead) === 1);
    const found = await channel.get(dead, { noAck: true });
    assert.ok(found);
    assert.equal(found.fields.exchange, x);
    assert.equal(found.fields.routingKey, "dead");
    assert.equal(found.fields.redelivered, false);
    assert.equal(found.properties.expiration, undefined);
    const { "x-death": deaths, ...headers } = found.properties.headers!;
    assert.deepEqual(headers, {
      h: 1,
      "x-first-death-exchange": "amq.direct",
      "x-first-death-queue": queue,
      "x-first-death-reason": "rejected",
      ...(version4 && {
        "x-last-death-exchange": "amq.direct",
        "x-last-death-queue": queue,
        "x-last-death-reason": "rejected",
      }),
    });
    assert.equal(deaths!.length, 1);
    // RabbitMQ 4 counts for nothing what a client wrote into the header, as here what was published again.
    const counted = version4 ? 1 : round;
    const { time, ...death } = deaths![0] as unknown as Record<string, unknown>;
    assert.deepEqual(death, {
      count: counted,
      exchange: "amq.direct",
      queue,
      reason: "rejected",
      "routing-keys": [queue],
      ...(counted === round && { "original-expiration": "60000" }),
    });
    const seconds = (time as { value: number }).value;
    assert.ok(seconds >= before && seconds <= before + 60, String(seconds));
    await publishAll(channel, "amq.direct", queue, ["x"], { headers: found.properties.headers });
  }
});

Deno.test("expired and dropped messages are dead-lettered, by their own key by default", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const [x, expiring, short, dead] = [s.name(), s.name(), s.name(), s.name()];
  await channel.assertExchange(x, "fanout");
  await channel.assertQueue(dead);
  await channel.bindQueue(dead, x, "");
  await channel.assertQueue(expiring, { deadLetterExchange: x, messageTtl: 20 });
  await channel.assertQueue(short, { deadLetterExchange: x, maxLength: 1 });
  await publishAll(channel, "", expiring, ["old"]);
  await until(async () => await s.count(dead) === 1);
  await publishAll(channel, "", short, ["dropped", "kept"]);
  await until(async () => await s.count(dead) === 2);
  const found = await getAll(channel, dead);
  assert.deepEqual(texts(found), ["old", "dropped"]);
  assert.deepEqual(found.map((m) => m.fields.routingKey), [expiring, short]);
  assert.deepEqual(found.map((m) => m.properties.headers!["x-death"]![0]!.reason), [
    "expired",
    "maxlen",
  ]);
});

Deno.test("a retry circle by TTL and dead-lettering counts its rounds", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const [work, wait] = [s.name(), s.name()];
  await channel.assertQueue(work, { deadLetterExchange: "", deadLetterRoutingKey: wait });
  await channel.assertQueue(wait, {
    deadLetterExchange: "",
    deadLetterRoutingKey: work,
    messageTtl: 10,
  });
  const rounds: unknown[] = [];
  await channel.consume(work, (message) => {
    const deaths = message!.properties.headers?.["x-death"] ?? [];
    rounds.push(deaths.map(({ queue, reason, count }) => [queue === work, reason, count]));
    if (rounds.length < 3) channel.reject(message!, false);
    else channel.ack(message!);
  });
  await publishAll(channel, "", work, ["x"]);
  await until(() => rounds.length === 3);
  assert.deepEqual(rounds, [
    [],
    [[false, "expired", 1], [true, "rejected", 1]],
    [[false, "expired", 2], [true, "rejected", 2]],
  ]);
});

Deno.test("a circle without a rejection ends: the message is dropped", async () => {
  await using s = await setup();
  const channel = await s.confirmChannel();
  const [a, b] = [s.name(), s.name()];
  await channel.assertQueue(a, { deadLetterExchange: "", deadLetterRoutingKey: b, messageTtl: 10 });
  await channel.assertQueue(b, { deadLetterExchange: "", deadLetterRoutingKey: a, messageTtl: 10 });
  await publishAll(channel, "", a, ["x"]);
  // Between two looks it could change queues unseen: it must be away for more than a round.
  let away = 0;
  await until(async () => {
    away = await s.count(a) + await s.count(b) === 0 ? away + 1 : 0;
    return away === 30;
  }, "the end of the circle");
});
