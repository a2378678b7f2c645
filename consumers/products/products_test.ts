import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { eventually, type Running, start } from "../../lib/testing.ts";
import { type Service, setup } from "./testing.ts";

Deno.test("what is made, changed, deleted and liked is the same in both databases", async () => {
  await using test = await setup();
  const { request } = test;
  await test.start("service");
  await test.start("admin");
  const first = await test.create("first", "10");
  assert.deepEqual({ ...first, created_at: "" }, {
    id: 1,
    title: "first",
    description: null,
    price: "10.00",
    image: null,
    likes: 0,
    created_at: "",
  });
  assert.match(first.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  await test.create("second");
  const fields = { title: "changed", price: "0.5", description: "é" };
  const { body: changed } = await request("admin", "PUT", "/api/products/1", fields);
  assert.deepEqual(changed, { ...first, ...fields, price: "0.50" });
  assert.equal((await request("admin", "DELETE", "/api/products/2/")).status, 204);
  await test.agree();
  const seen = await request("service", "GET", "/api/products/1/");
  assert.deepEqual(seen.body, changed);
  assert.equal((await request("service", "GET", "/api/products/2/")).status, 404);

  for (const user_id of [7, 8]) {
    const like = await request("service", "POST", "/api/products/1/like/", { user_id });
    assert.deepEqual([like.status, like.body], [201, { id: 1, user_id }]);
  }
  const twice = await request("service", "POST", "/api/products/1/like", { user_id: 7 });
  assert.deepEqual(twice.body, { user_id: ["This user likes this product already."] });
  assert.equal(twice.status, 400);
  await eventually(async () => {
    const { body } = await request("service", "GET", "/api/products/1/");
    assert.equal(body.likes, 2);
  });
  assert.equal((await test.agree())[0]!.likes, 2);

  // A like that comes once more, as after a crash, and one for what is deleted.
  const type = "product_liked";
  for (const id of [1, 2]) {
    await test.publish("admin", JSON.stringify({ id, user_id: 7 }), { type });
  }
  await test.publish("admin", JSON.stringify({ id: 1, user_id: 9 }), { type });
  await eventually(() => assert.equal(likesOf(test.rows("admin")[0]), 3));
  assert.equal(likesOf((await test.agree())[0]), 3);
  assert.equal(await test.probe.count(`${test.queue}.feedback.dlq`), 0);
});

function likesOf(row: unknown): number {
  return (row as { likes: number }).likes;
}

Deno.test("requests succeed while the broker is away, and the copy follows when it is back", async () => {
  await using test = await setup();
  test.cable.cut("down");
  const admin = await test.start("admin");
  await test.start("service");
  await admin.seen(/Waiting for the broker/);
  for (let i = 0; i < 20; i++) await test.create(`product ${i}`);
  assert.deepEqual((await test.request("admin", "GET", "/health")).body, {
    status: "ok",
    unpublished: 20,
  });
  test.cable.plug();
  assert.equal((await test.agree()).length, 20);
  await eventually(async () => {
    const { body } = await test.request("admin", "GET", "/health");
    assert.equal(body.unpublished, 0);
  });
});

Deno.test("kill -9 of either at random and ten seconds without the broker during 500 changes: both databases agree", async () => {
  await using test = await setup();
  const running: Record<Service, Running> = {
    admin: await test.start("admin"),
    service: await test.start("service"),
  };
  /** Until it is answered: a killed service may or may not have done it. */
  async function insist(service: Service, method: string, path: string, body?: unknown) {
    return await eventually(() => test.request(service, method, path, body));
  }
  async function restart(service: Service) {
    running[service].kill("SIGKILL");
    await running[service].ended();
    running[service] = await test.start(service);
  }
  let changing = true;
  let kills = 0;
  const killing = (async () => {
    while (changing) {
      await new Promise((resolve) => setTimeout(resolve, 300 + 700 * Math.random()));
      await restart(Math.random() < 0.5 ? "admin" : "service");
      kills++;
    }
  })();
  const anyId = () => 1 + Math.floor(Math.random() * 120);
  let plugging: Promise<void> | undefined;
  for (let i = 0; i < 500; i++) {
    if (i === 250) {
      test.cable.cut("down");
      plugging = new Promise((resolve) => setTimeout(resolve, 10_000)).then(test.cable.plug);
    }
    const chance = Math.random();
    const fields = { title: `product ${i}`, price: `${i}.5` };
    const path = `/api/products/${anyId()}/`;
    if (chance < 0.3) await insist("admin", "POST", "/api/products/", fields);
    else if (chance < 0.7) await insist("admin", "PUT", path, fields);
    else if (chance < 0.8) await insist("admin", "DELETE", path);
    else await insist("service", "POST", `${path}like`, { user_id: i });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  changing = false;
  await killing;
  await plugging;
  await eventually(async () => {
    for (const service of ["admin", "service"] as const) {
      assert.equal((await test.request(service, "GET", "/health")).body.unpublished, 0);
    }
  });
  // Every like that the service has taken is counted, once each.
  using database = new DatabaseSync(`${test.directory}/service.db`, { readOnly: true });
  const taken = database.prepare("SELECT count(*) AS likes FROM product_users WHERE product = ?");
  await eventually(() => {
    for (const row of test.rows("admin") as { id: number; deleted: number; likes: number }[]) {
      if (!row.deleted) assert.equal(row.likes, taken.get(row.id)!.likes);
    }
  });
  const rows = await test.agree(60_000);
  assert(rows.length > 100 && kills > 5, `${rows.length} rows, ${kills} kills`);
  assert(rows.some((row) => likesOf(row) > 0));
  assert.equal(await test.probe.count(`${test.queue}.dlq`), 0);
  assert.equal(await test.probe.count(`${test.queue}.feedback.dlq`), 0);
});

Deno.test("the order and number of deliveries do not matter, and nothing deleted comes back", async () => {
  await using test = await setup();
  await test.start("service");
  const product = (title: string) => JSON.stringify({ id: 5, title, price: "2.00" });
  const send = (version: number | undefined, type: string, body: string) =>
    test.publish("service", body, { type, headers: version ? { version, schema: 1 } : {} });
  const get = () => test.request("service", "GET", "/api/products/5/");
  await send(3, "product_updated", product("third"));
  await send(1, "product_created", product("first"));
  await send(2, "product_updated", product("second"));
  await send(3, "product_updated", product("third again"));
  await eventually(async () => assert.equal((await get()).body.title, "third"));
  await eventually(async () => assert.equal(await test.probe.count(test.queue), 0));
  assert.equal((await get()).body.title, "third");
  await send(4, "product_deleted", '{"id":5}');
  await send(3, "product_updated", product("late"));
  await send(undefined, "product_updated", product("late, of an older producer"));
  await send(undefined, "product_created", JSON.stringify({ id: 6, title: "last", price: "1" }));
  await eventually(async () => {
    assert.equal((await test.request("service", "GET", "/api/products/6/")).status, 200);
  });
  assert.equal((await get()).status, 404);
});

Deno.test("service --rebuild ends with the same copy when its database is lost, or wrong", async () => {
  await using test = await setup();
  let admin = await test.start("admin");
  let service = await test.start("service");
  for (let i = 0; i < 1200; i += 20) {
    await Promise.all(Array.from({ length: 20 }, (_, n) => test.create(`product ${i + n}`)));
  }
  await test.request("admin", "DELETE", "/api/products/3/");
  const rows = await test.agree();
  service.kill("SIGKILL");
  await service.ended();
  for (const suffix of ["", "-wal", "-shm"]) {
    await Deno.remove(`${test.directory}/service.db${suffix}`);
  }
  admin.kill("SIGKILL"); // they start in any order
  await admin.ended();
  service = await test.start("service", "--rebuild");
  assert.deepEqual((await test.request("service", "GET", "/api/products/")).body, []);
  admin = await test.start("admin");
  await eventually(() => assert(test.rows("service").length > 0));
  admin.kill("SIGKILL"); // in the middle of telling everything
  await admin.ended();
  await test.start("admin");
  assert.deepEqual(await test.agree(), rows);

  const ghost = { id: 5000, title: "admin knows nothing of it", price: "1" };
  await test.publish("service", JSON.stringify(ghost), { type: "product_created" });
  await eventually(() => assert.equal(test.rows("service").length, rows.length + 1));
  service.kill("SIGTERM");
  assert.equal((await service.ended()).code, 0);
  await test.start("service", "--rebuild");
  assert.deepEqual(await test.agree(), rows);
});

Deno.test("what is no event is a dead letter with its reason, and on it goes", async () => {
  await using test = await setup();
  await test.start("service");
  await test.start("admin");
  const type = "product_created";
  const good = { id: 9, title: "good", price: "1.00" };
  const cases: [Service, unknown, Record<string, unknown>, RegExp][] = [
    ["service", "{", { type }, /^the body is not JSON/],
    ["service", good, {}, /^it is no event of products: its type is missing$/],
    ["service", good, { type: "product_liked" }, /^it is no event of products/],
    ["service", good, { type: "\x1b[2J" }, /its type is "\\u001b\[2J"$/],
    ["service", good, { type, headers: { schema: 2 } }, /^events of schema 2 are not known here/],
    ["service", good, { type, headers: { schema: "1" } }, /^events of schema "1" are not known/],
    ["service", good, { type, headers: { version: {} } }, /^version: .*, not \{\}$/],
    ["service", good, { type, headers: { version: -1 } }, /^version: expected a whole number/],
    ["service", { ...good, id: "x" }, { type }, /^id: expected a whole number from 1, not "x"/],
    ["service", { ...good, title: " " }, { type }, /^title: This field may not be blank\.$/],
    ["service", { ...good, price: "NaN" }, { type }, /^price: A valid number is required\.$/],
    ["service", [good], { type }, /^id: expected/],
    ["admin", { id: 77, user_id: 1 }, { type: "product_liked" }, /^there was never a product 77$/],
    ["admin", { id: 1 }, { type: "product_liked" }, /^user_id: A valid integer is required\.$/],
  ];
  for (const [to, body, properties, reason] of cases) {
    await test.publish(to, typeof body === "string" ? body : JSON.stringify(body), properties);
    const queue = to === "service" ? test.queue : `${test.queue}.feedback`;
    const dead = await test.probe.take(`${queue}.dlq`);
    assert.match(dead.properties.headers!["x-reason"], reason);
  }
  await test.publish("service", JSON.stringify(good), { type });
  await eventually(async () => {
    assert.equal((await test.request("service", "GET", "/api/products/9/")).status, 200);
  });
});

Deno.test("events wait while the database fails, and a request is answered with 500", async () => {
  await using test = await setup();
  await test.start("admin");
  const service = await test.start("service");
  await test.create("one");
  await test.agree();
  using database = new DatabaseSync(`${test.directory}/service.db`);
  database.exec("ALTER TABLE products RENAME TO elsewhere");
  await test.create("two");
  await service.seen(/The database fails: no such table: (main\.)?products\. Waiting/);
  const { status, body } = await test.request("service", "GET", "/api/products/1/");
  assert.deepEqual([status, body], [500, { detail: "no such table: products" }]);
  database.exec("ALTER TABLE elsewhere RENAME TO products");
  assert.equal((await test.agree()).length, 2);
  assert.equal(await test.probe.count(`${test.queue}.dlq`), 0);
});

Deno.test("a queue that exists with other arguments is used as it is, with a note", async () => {
  await using test = await setup();
  await test.probe.channel.assertQueue(test.queue, { durable: false });
  const admin = await test.start("admin");
  const service = await test.start("service");
  for (const tool of [admin, service]) {
    await tool.seen(/Queue .* is used as it is: not durable, so it does not outlive the broker/);
  }
  await test.create("one");
  await test.agree();
});

Deno.test("a queue that is deleted is declared again, and nothing is lost", async () => {
  await using test = await setup();
  await test.start("admin");
  await test.create("one");
  await eventually(async () => assert.equal(await test.probe.count(test.queue), 1));
  await test.probe.channel.deleteQueue(test.queue);
  await test.create("two");
  await test.start("service", "--rebuild");
  assert.equal((await test.agree()).length, 2);
});

Deno.test("deno task products starts both on the embedded broker and shows that they agree", async () => {
  const data = await Deno.makeTempDir({ prefix: "event-sink-products-" });
  try {
    for (const startNumber of [1, 2]) {
      const args = ["--port", "0", "--service-port", "0", "--data", data];
      await using products = start(["task", "-q", "products", ...args], { env: { AMQP_URL: "" } });
      await products.seen(/Both databases agree: 3 products\n[^]* {2}A cup of tea .* 2\.40 {6}0\n/);
      const [, admin] = await products.seen(/Admin is at (\S+), service/);
      assert.match(await (await fetch(admin!)).text(), /<title>products: admin/);
      if (startNumber === 2) {
        const headers = { "content-type": "application/json" };
        const body = '{"title":"one of many","price":1}';
        for (let count = 0; count < 1000; count += 50) {
          await Promise.all(Array.from({ length: 50 }, async () => {
            const answer = await fetch(`${admin}/api/products/`, { method: "POST", headers, body });
            await answer.body?.cancel();
          }));
        }
        await products.seen(/Both databases agree: 1003 products, the last 20/);
      }
      products.kill("SIGINT");
      const { code, stderr } = await products.ended();
      assert.equal(code, 0, stderr);
    }
  } finally {
    await Deno.remove(data, { recursive: true });
  }
});
