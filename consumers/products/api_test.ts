import assert from "node:assert/strict";
import { setup } from "./testing.ts";

Deno.test("every route of admin answers, with and without a slash at its end, the older ones too", async () => {
  await using test = await setup();
  await test.start("admin");
  const get = async (path: string) => (await test.request("admin", "GET", path)).body;
  assert.equal((await test.request("admin", "GET", "/api/products/random/")).status, 404);
  assert.deepEqual(await get("/api/products/"), []);
  const made = await test.request("admin", "POST", "/api/products/create/", {
    title: "a title / with = signs",
    price: 10.1,
    id: 70,
    likes: 9,
  });
  assert.equal(made.status, 201);
  assert.equal(made.headers.get("location"), "/api/products/1/");
  const product = made.body;
  assert.deepEqual([product.id, product.likes, product.price], [1, 0, "10.10"]);
  for (const slash of ["", "/"]) {
    assert.deepEqual(await get(`/api/products${slash}`), [product]);
    assert.deepEqual(await get(`/api/products/1${slash}`), product);
    assert.deepEqual(await get(`/api/products/id=1${slash}`), product);
    const title = encodeURIComponent(product.title);
    assert.deepEqual(await get(`/api/products/title=${title}${slash}`), product);
    assert.deepEqual(await get(`/api/products/random${slash}`), product);
    const { id } = await get(`/api/users${slash}`);
    assert(Number.isInteger(id) && id > 0);
  }
  for (let i = 2; i <= 5; i++) await test.create(`product ${i}`);
  const ids = async (path: string) => {
    const { headers, body } = await test.request("admin", "GET", path);
    return [body.map(({ id }: { id: number }) => id), headers.get("link")];
  };
  assert.deepEqual(await ids("/api/products?limit=2"), [
    [1, 2],
    '</api/products/?limit=2&after=2>; rel="next"',
  ]);
  assert.deepEqual(await ids("/api/products/?limit=2&after=3"), [[4, 5], null]);
});

Deno.test("validation speaks as Django REST framework", async () => {
  await using test = await setup();
  await test.start("admin");
  const required = "This field is required.";
  const number = "A valid number is required.";
  const whole = "Ensure that there are no more than 8 digits before the decimal point.";
  const cases: [string, unknown][] = [
    ["{}", { title: [required], price: [required] }],
    ['{"title":null,"price":null}', {
      title: ["This field may not be null."],
      price: ["This field may not be null."],
    }],
    ['{"title":"   ","price":"1"}', { title: ["This field may not be blank."] }],
    ['{"title":true,"price":"1"}', { title: ["Not a valid string."] }],
    ['{"title":"\\ud800","price":"1"}', {
      title: ["Surrogate characters are not allowed: U+D800."],
    }],
    ['{"title":"\\u0085\\u001c","price":"1"}', { title: ["This field may not be blank."] }],
    ['{"title":"a\\u0000","price":"1"}', { title: ["Null characters are not allowed."] }],
    [`{"title":"${"é".repeat(256)}","price":"1"}`, {
      title: ["Ensure this field has no more than 255 characters."],
    }],
    ['{"title":"x","price":"1","description":{}}', { description: ["Not a valid string."] }],
    ...["NaN", "Infinity", "", "x", "1,5", "0x10", ".", "1e", "--1"].map((
      price,
    ): [string, unknown] => [JSON.stringify({ title: "x", price }), { price: [number] }]),
    ['{"title":"x","price":true}', { price: [number] }],
    ['{"title":"x","price":1e9}', { price: [whole] }],
    ['{"title":"x","price":"123456789"}', { price: [whole] }],
    ['{"title":"x","price":1e999999999}', {
      price: ["Ensure that there are no more than 10 digits in total."],
    }],
    ['{"title":"x","price":12345678.901}', {
      price: ["Ensure that there are no more than 10 digits in total."],
    }],
    ['{"title":"x","price":"1.005"}', {
      price: ["Ensure that there are no more than 2 decimal places."],
    }],
    ['{"title":"x","price":"1e-3"}', {
      price: ["Ensure that there are no more than 2 decimal places."],
    }],
    ['{"title":"x","price":-1}', { price: ["Ensure this value is greater than or equal to 0."] }],
    [`{"title":"x","price":"${"1".repeat(1001)}"}`, { price: ["String value too large."] }],
    ["null", { non_field_errors: ["No data provided"] }],
    ...[["[]", "list"], ['"x"', "str"], ["true", "bool"], ["1", "int"], ["1.5", "float"]].map((
      [body, type],
    ): [string, unknown] => [body!, {
      non_field_errors: [`Invalid data. Expected a dictionary, but got ${type}.`],
    }]),
  ];
  for (const [body, errors] of cases) {
    const answer = await test.request("admin", "POST", "/api/products/", body);
    assert.deepEqual(answer.body, errors, body);
    assert.equal(answer.status, 400);
  }
  const prices: [string, string][] = [
    ["12345678.99", "12345678.99"],
    ['"0.1"', "0.10"],
    ['" 7 "', "7.00"],
    ["1e2", "100.00"],
    ['"00012.30"', "12.30"],
    ['"-0"', "0.00"],
    ['".5"', "0.50"],
    ["99999999.99", "99999999.99"],
  ];
  for (const [price, exact] of prices) {
    const body = `{"title":"${"é".repeat(255)}","price":${price}}`;
    assert.equal((await test.request("admin", "POST", "/api/products/", body)).body.price, exact);
  }
});

Deno.test("bad requests get a status and a message, and the services live on", async () => {
  await using test = await setup();
  await test.start("admin");
  await test.start("service");
  await test.create("one");
  await test.agree();
  const json = { "content-type": "application/json" };
  const good = JSON.stringify({ title: "x", price: "1" });
  const like = "/api/products/1/like/";
  const cases: ["admin" | "service", string, string, RequestInit, number, RegExp][] = [
    ["admin", "POST", "/api/products/", { body: "{", headers: json }, 400, /body is not JSON/],
    ["admin", "POST", "/api/products/", { body: "", headers: json }, 400, /This field is required/],
    [
      "admin",
      "POST",
      "/api/products/",
      { body: "[".repeat(60_000), headers: json },
      400,
      /nested more than 100 levels deep/,
    ],
    [
      "admin",
      "POST",
      "/api/products/",
      { body: new Uint8Array([0xff]), headers: json },
      400,
      /the body is not UTF-8/,
    ],
    [
      "admin",
      "POST",
      "/api/products/",
      { body: good },
      415,
      /content type 'text\/plain' is not supported/,
    ],
    [
      "admin",
      "POST",
      "/api/products/",
      { body: JSON.stringify({ title: "x".repeat(10_000_000) }), headers: json },
      413,
      /larger than 65536 bytes/,
    ],
    [
      "admin",
      "POST",
      "/api/products/",
      { body: good, headers: { ...json, origin: "https://example.org" } },
      403,
      /another origin/,
    ],
    [
      "admin",
      "PATCH",
      "/api/products/1/",
      { body: good, headers: json },
      405,
      /PATCH is not among the methods here: GET, HEAD, PUT, DELETE/,
    ],
    ["admin", "DELETE", "/api/products/", {}, 405, /GET, HEAD, POST/],
    ["admin", "GET", "/api/products/x/", {}, 404, /\/x: there is no such thing/],
    ["admin", "GET", "/api/products/1.5", {}, 404, /\/1\.5: there is no such thing/],
    ["admin", "GET", "/api/products/0", {}, 404, /there is no product '0'/],
    ["admin", "GET", "/api/products/99999999999999999999", {}, 404, /no product/],
    ["admin", "GET", "/api/products/id=x/", {}, 404, /there is no product 'x'/],
    ["admin", "GET", "/api/products/title=nothing/", {}, 404, /there is no product 'nothing'/],
    ["admin", "PUT", "/api/products/2/", { body: "{}", headers: json }, 404, /no product '2'/],
    ["admin", "PUT", "/api/products/1/", { body: "{}", headers: json }, 400, /is required/],
    ["admin", "DELETE", "/api/products/2/", {}, 404, /no product '2'/],
    ["admin", "PUT", "/api/products/random/", {}, 405, /methods here: GET, HEAD"/],
    ["admin", "DELETE", "/api/products/title=x", {}, 405, /methods here: GET, HEAD"/],
    ["admin", "PUT", "/api/products/create/", {}, 405, /methods here: POST"/],
    ["admin", "GET", "/api/nothing", {}, 404, /there is no such thing/],
    ["admin", "GET", "/api/products/?limit=0", {}, 400, /greater than or equal to 1/],
    ["admin", "GET", "/api/products/?limit=1001", {}, 400, /less than or equal to 1000/],
    ["service", "GET", "/api/products/?after=x", {}, 400, /A valid integer is required/],
    ["service", "POST", "/api/products/", { body: good, headers: json }, 405, /GET, HEAD/],
    ["service", "POST", like, { body: "{}", headers: json }, 400, /This field is required/],
    ["service", "POST", like, { body: '{"user_id":1.5}', headers: json }, 400, /A valid integer/],
    ["service", "POST", like, { body: '{"user_id":"x"}', headers: json }, 400, /A valid integer/],
    [
      "service",
      "POST",
      "/api/products/9/like/",
      { body: '{"user_id":1}', headers: json },
      404,
      /no product '9'/,
    ],
  ];
  for (const [service, method, path, init, status, message] of cases) {
    const answer = await fetch(test.url(service) + path, { method, ...init });
    const text = await answer.text();
    assert.equal(answer.status, status, `${method} ${path}: ${text}`);
    assert.match(text, message);
    assert.match(answer.headers.get("content-type")!, /json/);
    if (status === 405) assert.match(answer.headers.get("allow")!, /GET|POST/);
  }
  await test.create("two");
  assert.equal((await test.agree()).length, 2);
});
