/**
 * The services as real processes. Their queues' names are contracts, so a test deletes the queues before it starts and when it ends: use a
 * broker for tests.
 */
import assert from "node:assert/strict";
import {
  connectProbe,
  eventually,
  layCable,
  type Running,
  startServers,
  startTool,
} from "../lib/testing.ts";
import type { PipelineObject } from "./event.ts";
import type { Statistics } from "./statistics_store.ts";

const queues = ["distributor_consume", "process_consume", "statistics", "process_failed"];

type Service = "datagen" | "distributor" | "processor" | "statistics";

async function setup() {
  await using stack = new AsyncDisposableStack();
  const { amqpUrl } = stack.use(await startServers());
  await (await connectProbe(amqpUrl, { queues }))[Symbol.asyncDispose]();
  const probe = stack.use(await connectProbe(amqpUrl, { queues }));
  const cable = stack.use(layCable(amqpUrl));
  const directory = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const running: Running[] = [];
  const ports: Partial<Record<Service, number>> = {};
  const fixed: Record<Service, string[]> = {
    datagen: ["--database", `${directory}/objects.db`],
    distributor: [],
    processor: [],
    statistics: ["--database", `${directory}/stats.db`],
  };

  /** Starts a service and waits until it is ready; started again it has the same port. */
  async function start(
    service: Service,
    args: string[] = [],
    env: Record<string, string> = {},
  ): Promise<Running> {
    const port = ports[service] ?? 0;
    const withPort = ["datagen", "statistics"].includes(service) ? ["--port", `${port}`] : [];
    const process = stack.use(
      startTool("pipeline", service, [...fixed[service], ...withPort, ...args], {
        AMQP_URL: cable.url,
        ...env,
      }),
    );
    running.push(process);
    if (withPort.length > 0) {
      const [, found] = await process.seen(/http:\/\/127\.0\.0\.1:(\d+)/);
      ports[service] = Number(found);
    }
    return process;
  }
  const url = (service: Service) => `http://127.0.0.1:${ports[service]}`;
  const owned = stack.move();
  return {
    cable,
    probe,
    directory,
    running,
    start: async (...args: Parameters<typeof start>) => {
      const process = await start(...args);
      owned.use(process);
      return process;
    },
    url,
    async post(query = "", body?: BodyInit): Promise<PipelineObject[]> {
      const response = await fetch(`${url("datagen")}/api/objects${query}`, { method: "POST", body });
      assert.equal(response.status, 201);
      return [await response.json()].flat();
    },
    async statistics(): Promise<Statistics> {
      return await (await fetch(`${url("statistics")}/api/statistics`)).json();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
