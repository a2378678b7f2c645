import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { setup, virtualHostOf } from "./harness.ts";
import { closeOf, Wire } from "./wire.ts";

const failureClose = { "authentication_failure_close": true };

Deno.test("a wrong protocol header is answered with the one to use: AMQP 1.0's, before RabbitMQ 4 AMQP 0-9-1's", async () => {
  await using s = await setup();
  const right = await s.isVersion4() ? "AMQP\x03\x01\0\0" : "AMQP\0\0\x09\x01";
  for (const wrong of ["HTTP/1.1", "AMQP\0\0\x08\0", "AMQP\x02\x01\0\0"]) {
    await using wire = await Wire.connect(s.url);
    await wire.bytes(Buffer.from(wrong, "latin1"));
    assert.equal(await wire.read(), undefined);
    assert.equal(wire.rest.toString("latin1"), right, wrong);
  }
});

Deno.test("start announces RabbitMQ and its capabilities", async () => {
  await using s = await setup();
  await using wire = await Wire.connect(s.url);
  await wire.bytes(Buffer.from("AMQP\0\0\x09\x01", "latin1"));
  const start = await wire.expect("connection.start");
  assert.deepEqual([start.versionMajor, start.versionMinor], [0, 9]);
  // RabbitMQ 4 also lets in whoever says nothing (ANONYMOUS), unless that is turned off.
  const mechanisms = start.mechanisms.split(" ").filter((name) => name !== "ANONYMOUS");
  assert.deepEqual(mechanisms.sort(), ["AMQPLAIN", "PLAIN"]);
  assert.equal(start.locales, "en_US");
  assert.equal(start.serverProperties.get("product")?.v, "RabbitMQ");
  assert.match(String(start.serverProperties.get("version")?.v), /^(3\.10|4\.0)\.\d+$/);
  const capabilities = start.serverProperties.get("capabilities")!;
  assert.ok(capabilities.t === "F");
  assert.deepEqual([...capabilities.v.keys()].sort(), [
    "authentication_failure_close",
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "consumer_priorities",
    "direct_reply_to",
    "exchange_exchange_bindings",
    "per_consumer_qos",
    "publisher_confirms",
  ]);
});

Deno.test("a wrong password is told to who understands it", async () => {
  await using s = await setup();
  await using wire = await Wire.login(s.url, failureClose, "\0guest\0wrong");
  const close = await wire.expect("connection.close");
  assert.equal(close.replyCode, 403);
  assert.equal(
    close.replyText,
    "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.",
  );
});

Deno.test("AMQPLAIN logs in", async () => {
  await using s = await setup();
  const field = (key: string, value: string) =>
    `${String.fromCharCode(key.length)}${key}S\0\0\0${String.fromCharCode(value.length)}${value}`;
  const { username, password } = new URL(s.url);
  const response = field("LOGIN", username || "guest") + field("PASSWORD", password || "guest");
  await using wire = await Wire.login(s.url, {}, response, "AMQPLAIN");
  const tune = await wire.expect("connection.tune");
  assert.deepEqual(tune, { channelMax: 2047, frameMax: 131072, heartbeat: 60 });
});

Deno.test("an unknown virtual host is refused with 530", async () => {
  await using s = await setup();
  await using wire = await Wire.login(s.url);
  await wire.expect("connection.tune");
  await wire.send(0, "connection.tune-ok", { channelMax: 10, frameMax: 131072, heartbeat: 0 });
  await wire.send(0, "connection.open", { virtualHost: "nope", capabilities: "", insist: false });
  assert.deepEqual(await closeOf(wire), [530, "NOT_ALLOWED - vhost nope not found", "10.40"]);
});

for (
  const [what, tuned, text] of [
    [
      "more frame_max",
      { frameMax: 131073 },
      "frame_max = 131073 is higher than the maximum allowed value (131072)",
    ],
    [
      "less frame_max",
      { frameMax: 100 },
      "frame_max = 100 is lower than the minimum allowed value (4096)",
    ],
    [
      "no frame_max",
      { frameMax: 0 },
      "frame_max = 0 (no limit) is higher than the maximum allowed value (131072)",
    ],
    [
      "more channel_max",
      { channelMax: 3000 },
      "channel_max = 3000 is higher than the maximum allowed value (2047)",
    ],
  ] as const
) {
  Deno.test(`tuning to ${what} than offered ends the connection`, async () => {
    await using s = await setup();
    await using wire = await Wire.login(s.url);
    await wire.expect("connection.tune");
    const tuning = { channelMax: 10, frameMax: 131072, heartbeat: 0, ...tuned };
    await wire.send(0, "connection.tune-ok", tuning);
    // RabbitMQ 3.10 waits three seconds and hangs up; we say why.
    const next = await wire.read();
    if (next) assert.equal(next.args!.replyText, `NOT_ALLOWED - negotiated ${text}`);
    await wire.send(0, "connection.close-ok", {}).catch(() => {});
    assert.equal(await wire.read(), undefined);
  });
}

Deno.test("the connection lives while heartbeats come, and is dropped without them", async () => {
  await using s = await setup();
  await using wire = await Wire.login(s.url);
  await wire.expect("connection.tune");
  await wire.send(0, "connection.tune-ok", { channelMax: 10, frameMax: 131072, heartbeat: 1 });
  const virtualHost = virtualHostOf(s.url);
  await wire.send(0, "connection.open", { virtualHost, capabilities: "", insist: false });
  await wire.expect("connection.open-ok");
  let beats = 0;
  for (; beats < 20; beats++) {
    const next = await wire.read();
    if (!next) break;
    assert.equal(next.type, 8);
  }
  assert.ok(beats > 0 && beats < 20, `${beats} heartbeats`);
});

Deno.test("heartbeats come at half the interval", async () => {
  await using s = await setup();
  await using wire = await Wire.login(s.url);
  await wire.expect("connection.tune");
  await wire.send(0, "connection.tune-ok", { channelMax: 10, frameMax: 131072, heartbeat: 1 });
  const virtualHost = virtualHostOf(s.url);
  await wire.send(0, "connection.open", { virtualHost, capabilities: "", insist: false });
  await wire.expect("connection.open-ok");
  const started = performance.now();
  for (let beats = 0; beats < 6; beats++) {
    await wire.frame(8, 0, Buffer.alloc(0));
    assert.equal((await wire.read())!.type, 8);
  }
  const took = performance.now() - started;
  assert.ok(took > 2000 && took < 4500, `${took} ms for six heartbeats`);
});

Deno.test("who is refused and stays is hung up on within seconds", async () => {
  await using s = await setup();
  await using wire = await Wire.login(s.url, failureClose, "\0guest\0wrong");
  await wire.expect("connection.close");
  const started = performance.now();
  assert.equal(await wire.read(), undefined);
  const took = performance.now() - started;
  assert.ok(took < 4000, `${took} ms`);
});

Deno.test("the server listens on ::1, too, where there is IPv6", async () => {
  await using s = await setup();
  const url = new URL(s.url);
  if (!["127.0.0.1", "localhost"].includes(url.hostname) || !hasIpv6()) return;
  url.hostname = "[::1]";
  await using wire = await Wire.open(url.href);
  await wire.send(1, "channel.close", { replyCode: 0, replyText: "", classId: 0, methodId: 0 });
  await wire.expect("channel.close-ok");
});

function hasIpv6(): boolean {
  return Deno.networkInterfaces().some(({ address }) => address === "::1");
}
