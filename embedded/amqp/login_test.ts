import assert from "node:assert/strict";
import { Logins } from "./broker/logins.ts";
import { Wire } from "./contract/wire.ts";
import { startBroker } from "./mod.ts";

const failureClose = { "authentication_failure_close": true };

Deno.test("after five wrong passwords an address may guess once a second, from any number of connections", async () => {
  const logged: string[] = [];
  await using broker = await startBroker({
    port: 0,
    password: "secret-word",
    log: (text) => logged.push(text),
  });
  const login = async (password: string) => {
    await using wire = await Wire.login(broker.url, failureClose, `\0guest\0${password}`);
    return (await wire.read())?.method ?? "hung up";
  };
  for (let i = 0; i < 5; i++) assert.equal(await login("secret-wor"), "connection.close");
  const start = performance.now();
  const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => login(`guess-${i}`)));
  const took = performance.now() - start;
  const heard = answers.filter((answer) => answer === "connection.close").length;
  assert.ok(heard > 0 && heard <= 7, `${heard} of 30 guesses were heard`);
  assert.ok(took > heard * 900, `${heard} guesses in ${took} ms`);
  // Who knows it has to wait as well, or guesses would be told by their time.
  assert.equal(await login("secret-word"), "connection.tune");
  assert.deepEqual(logged, [
    "5 logins from 127.0.0.1 were refused: its further ones are slowed down",
  ]);
});

Deno.test("a client that goes on before its login is decided is refused", async () => {
  await using broker = await startBroker({ port: 0 });
  for (let i = 0; i < 5; i++) {
    await using wire = await Wire.login(broker.url, {}, "\0guest\0wrong");
    assert.equal(await wire.read(), undefined);
  }
  await using wire = await Wire.login(broker.url);
  const early = { channelMax: 10, frameMax: 131072, heartbeat: 0 };
  await wire.send(0, "connection.tune-ok", early);
  assert.equal(await wire.read(), undefined);
});

Deno.test("a login that is none is refused", async () => {
  await using broker = await startBroker({ port: 0 });
  await using wire = await Wire.login(broker.url, {}, "\0\0\0\0");
  assert.equal(await wire.read(), undefined);
});

Deno.test("failures are forgotten after a minute, and those of old addresses when there are too many", () => {
  const logins = new Logins(["me", "mine"], () => {});
  for (let i = 0; i < 10; i++) assert.equal(logins.check("a", "me", "wrong", 1000), false);
  assert.equal(logins.delay("a", 1000), 1000);
  assert.equal(logins.check("a", "me", "mine", 1500), true);
  assert.equal(logins.delay("a", 1500), 1500); // someone else may know it at this address
  assert.equal(logins.delay("b", 1500), 0);
  assert.equal(logins.delay("a", 61_001), 0);

  for (let i = 0; i < 10; i++) logins.check("a", "me", "wrong", 70_000);
  for (let i = 0; i < 10_000; i++) logins.check(`${i}`, "me", "wrong", 70_000);
  assert.equal(logins.delay("a", 70_000), 0);
});
