import assert from "node:assert/strict";
import { Binary, MongoClient } from "mongodb";
import { startStore } from "../mod.ts";

const password = "s3cret, = \u00e9";

function client(port: number, user: string, secret: string): MongoClient {
  return new MongoClient(`mongodb://127.0.0.1:${port}`, {
    auth: { username: user, password: secret },
    serverSelectionTimeoutMS: 2000,
  });
}

Deno.test("a store with a password lets in who knows it, on any address", async () => {
  await using store = await startStore({ hostname: "0.0.0.0", port: 0, password });
  const admin = client(store.port, "admin", password);
  await admin.db("d").collection("c").insertOne({ a: 1 });
  assert.equal(await admin.db("d").collection("c").countDocuments(), 1);
  await admin.close();
});

Deno.test("a wrong password, a wrong name and none at all are refused", async () => {
  await using store = await startStore({ port: 0, username: "me", password });
  for (const [user, secret] of [["me", "wrong"], ["you", password]] as const) {
    const other = client(store.port, user, secret);
    await assert.rejects(other.db("d").collection("c").insertOne({}), { code: 18 });
    await other.close();
  }
  const nobody = new MongoClient(store.url);
  for (const command of [{ find: "c" }, { insert: "c", documents: [{}] }, { listCollections: 1 }]) {
    await assert.rejects(nobody.db("d").command(command), { code: 13 });
  }
  assert.equal((await nobody.db("admin").command({ ping: 1 })).ok, 1);
  await nobody.close();
  const me = client(store.port, "me", password);
  assert.deepEqual(await me.db("d").listCollections().toArray(), []);
  await me.close();
});

Deno.test("nobody learns from a login whether there is a user of a name", async () => {
  await using store = await startStore({ port: 0, username: "me", password });
  const nobody = new MongoClient(store.url);
  const admin = nobody.db("admin");
  const begin = async (user: string) => {
    const payload = new Binary(new TextEncoder().encode(`n,,n=${user},r=abcdefgh`));
    const { payload: answer, ...rest } = await admin.command({
      saslStart: 1,
      mechanism: "SCRAM-SHA-256",
      payload,
    });
    const [, nonce, salt, iterations] = /^r=(abcdefgh.+),s=(.+),i=(.+)$/.exec(answer.toString())!;
    return { nonce, salt, iterations, rest: JSON.stringify(rest) };
  };
  const failure = async (user: string) => {
    const { nonce } = await begin(user);
    const proof = btoa("x".repeat(32));
    const payload = new Binary(new TextEncoder().encode(`c=biws,r=${nonce},p=${proof}`));
    const { message, code } = await admin.command({ saslContinue: 1, conversationId: 1, payload })
      .catch((error) => error);
    return { message, code };
  };
  const [me, you] = [await begin("me"), await begin("you")];
  assert.deepEqual([you.iterations, you.rest], [me.iterations, me.rest]);
  assert.equal(atob(you.salt!).length, atob(me.salt!).length);
  // Always the same of one name, and another of another.
  assert.equal((await begin("you")).salt, you.salt);
  assert.equal((await begin("me")).salt, me.salt);
  assert.notEqual((await begin("him")).salt, you.salt);
  assert.deepEqual(await failure("you"), await failure("me"));
  const mechanisms = async (user: string) =>
    (await admin.command({ hello: 1, saslSupportedMechs: `admin.${user}` })).saslSupportedMechs;
  assert.deepEqual(await mechanisms("you"), await mechanisms("me"));
  await nobody.close();
});

Deno.test("guessing is slow, and the right password still lets in", async () => {
  await using store = await startStore({ port: 0, password });
  const refused: number[] = []; // when
  for (let i = 0; i < 6; i++) {
    const guesser = client(store.port, "admin", "wrong");
    await assert.rejects(guesser.db("d").command({ find: "c" }), { code: 18 });
    refused.push(performance.now());
    await guesser.close();
  }
  const waits = refused.slice(1).map((at, i) => Math.round(at - refused[i]!));
  assert.ok(waits[3]! >= 190 && waits[4]! >= 390, waits.join());
  const admin = client(store.port, "admin", password);
  await admin.db("d").collection("c").insertOne({});
  await admin.close();
});
