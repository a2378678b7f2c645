/**
 * Programs in Python, with Debian's python3-pika, on either side. Where it is not installed the tests say so and end; in CI they fail.
 */
import assert from "node:assert/strict";
import { eventually, start } from "../../lib/testing.ts";
import { setup } from "./testing.ts";

/** Debian's own Python, which sees Debian's packages whatever other Python a machine has. */
const command = "/usr/bin/python3";

async function installed(): Promise<boolean> {
  let success = false;
  try {
    ({ success } = await new Deno.Command(command, { args: ["-c", "import pika"] }).output());
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (success) return true;
  if (Deno.env.get("CI")) assert.fail("python3-pika does not work here");
  console.log("python3-pika does not work here: not tested");
  return false;
}

/** As the classical program has it: a queue that is not durable, the event's name in the content type, messages neither persistent nor confirmed. */
const produce = `
import json, sys, pika
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.queue_declare(queue=sys.argv[2])

def publish(method, body):
    properties = pika.BasicProperties(method)
    channel.basic_publish(exchange="", routing_key=sys.argv[2], body=json.dumps(body), properties=properties)

product = {"id": 1, "title": "from Django", "description": None, "price": "10.00", "image": None, "likes": 0,
           "created_at": "2022-05-02T14:12:00.123456Z"}
publish("product_created", product)
publish("product_created", {"id": 2, "title": "gone", "price": "1.00", "image": "x.png"})
publish("product_updated", {**product, "title": "changed", "price": 9.5})
publish("product_deleted", 2)
publish("product_created", {"id": 3, "title": "last", "price": "1.00"})
connection.close()
`;

const consume = `
import json, sys, pika
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.queue_declare(queue=sys.argv[2], durable=True)
for method, properties, body in channel.consume(sys.argv[2], auto_ack=True):
    body = json.loads(body)
    print(properties.type, properties.headers["version"], properties.delivery_mode, properties.content_type,
          body["id"], body.get("title"), body.get("price"), flush=True)
    if properties.type == "product_deleted": break
connection.close()
`;

Deno.test("service understands a pika producer of the classical kind, on its queue as it is", async () => {
  if (!await installed()) return;
  await using test = await setup();
  const args = ["-c", produce, test.cable.url, test.queue];
  await using pika = start(args, { command });
  const { code, stderr } = await pika.ended();
  assert.equal(code, 0, stderr);
  const service = await test.start("service");
  await service.seen(/is used as it is: not durable/);
  const get = (id: number) => test.request("service", "GET", `/api/products/${id}/`);
  await eventually(async () => assert.equal((await get(3)).status, 200));
  assert.deepEqual((await get(1)).body, {
    id: 1,
    title: "changed",
    description: null,
    price: "9.50",
    image: null,
    likes: 0,
    created_at: "2022-05-02T14:12:00.123456Z",
  });
  assert.equal((await get(2)).status, 404);
});

Deno.test("a pika consumer understands what admin tells", async () => {
  if (!await installed()) return;
  await using test = await setup();
  await test.start("admin");
  await using pika = start(["-c", consume, test.cable.url, test.queue], { command });
  await test.create("café", "2.5");
  await test.request("admin", "PUT", "/api/products/1/", { title: "tea", price: 3 });
  await test.request("admin", "DELETE", "/api/products/1/");
  const { code, stdout, stderr } = await pika.ended();
  assert.equal(code, 0, stderr);
  assert.deepEqual(stdout.trimEnd().split("\n"), [
    "product_created 1 2 application/json 1 café 2.50",
    "product_updated 2 2 application/json 1 tea 3.00",
    "product_deleted 3 2 application/json 1 None None",
  ]);
});
