/**
 * Both services as real processes, for the tests: on queues and databases of their own.
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { DatabaseSync } from "node:sqlite";
import {
  connectProbe,
  eventually,
  layCable,
  type Running,
  startServers,
  startTool,
  unique,
} from "../../lib/testing.ts";

/** The name of a service's task. */
export type Service = "admin" | "service";

/** The broker under test, the services when they are started, and what users do with them. */
export async function setup({ queue = unique("products") } = {}) {
  await using stack = new AsyncDisposableStack();
  const { amqpUrl } = stack.use(await startServers());
  const queues = [queue, `${queue}.feedback`];
  const probe = stack.use(await connectProbe(amqpUrl, { queues }));
  const cable = stack.use(layCable(amqpUrl));
  const directory = await Deno.makeTempDir({ prefix: "event-sink-products-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const ports: Record<Service, number> = { admin: 0, service: 0 };
  const url = (service: Service) => `http://127.0.0.1:${ports[service]}`;
  const owned = stack.move();

  async function request(
    service: Service,
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ) {
    const answer = await fetch(url(service) + path, {
      method,
      headers,
      ...body === undefined ? {} : {
        body: typeof body === "string" ? body : JSON.stringify(body),
        headers: { "content-type": "application/json", ...headers },
      },
    });
    const text = await answer.text();
    return {
      status: answer.status,
      headers: answer.headers,
      body: text === "" ? undefined : JSON.parse(text),
    };
  }
  function rows(service: Service): unknown[] {
    using database = new DatabaseSync(`${directory}/${service}.db`, { readOnly: true });
    return database.prepare("SELECT * FROM products ORDER BY id").all().map((row) => ({ ...row }));
  }
  return {
    queue,
    probe,
    cable,
    directory,
    url,
    request,
    rows,
    /** Starts a service, with flags and variables; it has the same port when it is started again. */
    async start(
      service: Service,
      ...options: (string | Record<string, string>)[]
    ): Promise<Running> {
      const [env = {}] = options.filter((each) => typeof each === "object");
      const args = options.filter((each) => typeof each === "string");
      const fixed = ["--database", `${directory}/${service}.db`, "--queue", queue];
      const port = ["--port", `${ports[service]}`];
      const process = owned.use(
        startTool("consumers/products", service, [...fixed, ...port, ...args], {
          AMQP_URL: cable.url,
          ...env,
        }),
      );
      const [, found] = await process.seen(/http:\/\/127\.0\.0\.1:(\d+)/);
      ports[service] = Number(found);
      return process;
    },
    /** Makes a product. */
    async create(title: string, price = "1.00") {
      const { status, body } = await request("admin", "POST", "/api/products/", { title, price });
      assert.equal(status, 201, JSON.stringify(body));
      return body;
    },
    /** Waits until both databases have the same rows, and returns them. */
    agree: (limit?: number) =>
      eventually(() => {
        const all = rows("admin");
        const copy = rows("service");
        // Not deepEqual: to explain how thousands of rows differ takes longer than they take to arrive.
        const same = JSON.stringify(copy) === JSON.stringify(all);
        assert(same, `${copy.length} rows in service, ${all.length} in admin, or they differ`);
        return all as Record<string, unknown>[];
      }, limit),
    /** Publishes a body as it is to the queue of the services. */
    async publish(to: Service, body: string, properties: Record<string, unknown> = {}) {
      const target = to === "service" ? queue : `${queue}.feedback`;
      await probe.channel.assertQueue(target, { durable: true }); // whoever starts first
      probe.channel.sendToQueue(target, Buffer.from(body), { persistent: true, ...properties });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
