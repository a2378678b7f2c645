/**
 * The services as real processes, for the tests. Their queues' names are contracts, so a test deletes the queues before it starts and when it
 * ends: use a broker for tests.
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  connectProbe,
  layCable,
  type Running,
  startServers,
  startTool,
} from "../../lib/testing.ts";
import type { PipelineObject } from "../event.ts";
import type { Statistics } from "../statistics/store.ts";

const queues = ["distributor_consume", "process_consume", "statistics", "process_failed"];

/** A service by the name of its task. */
export type Service = "datagen" | "distributor" | "processor" | "statistics";

/** The broker under test, the services when they are started, and what a user does with them. */
export async function setup() {
  await using stack = new AsyncDisposableStack();
  const { amqpUrl } = stack.use(await startServers());
  await (await connectProbe(amqpUrl, { queues }))[Symbol.asyncDispose]();
  const probe = stack.use(await connectProbe(amqpUrl, { queues }));
  const cable = stack.use(layCable(amqpUrl));
  const directory = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const ports: Partial<Record<Service, number>> = {};
  const fixed: Record<Service, string[]> = {
    datagen: ["--database", `${directory}/objects.db`],
    distributor: [],
    processor: [],
    statistics: ["--database", `${directory}/stats.db`],
  };
  const url = (service: Service) => `http://127.0.0.1:${ports[service]}`;
  const owned = stack.move();
  return {
    cable,
    probe,
    directory,
    url,
    /** Starts a service; one with a port is then ready, and has the same port when it is started again. */
    async start(
      service: Service,
      args: string[] = [],
      env: Record<string, string> = {},
    ): Promise<Running> {
      const port = ["datagen", "statistics"].includes(service)
        ? ["--port", `${ports[service] ?? 0}`]
        : [];
      const process = owned.use(
        startTool("pipeline", service, [...fixed[service], ...port, ...args], {
          AMQP_URL: cable.url,
          ...env,
        }),
      );
      if (port.length > 0) {
        const [, found] = await process.seen(/http:\/\/127\.0\.0\.1:(\d+)/);
        ports[service] = Number(found);
      }
      return process;
    },
    /** Posts to datagen and returns the objects that it made. */
    async post(query = "", body?: BodyInit, headers?: HeadersInit): Promise<PipelineObject[]> {
      const request = { method: "POST", body, headers };
      const answer = await fetch(`${url("datagen")}/api/objects${query}`, request);
      assert.equal(answer.status, 201);
      return [await answer.json()].flat();
    },
    /** What statistics has counted. */
    async statistics(): Promise<Statistics> {
      return await (await fetch(`${url("statistics")}/api/statistics`)).json();
    },
    /** Publishes a body as it is to the pipeline's exchange. */
    publish(key: string, body: string, messageId: string = crypto.randomUUID()) {
      probe.channel.publish("ebs", key, Buffer.from(body), { persistent: true, messageId });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Arguments of a processor whose work takes no time. */
export const instant = ["--work", "0", "--concurrency", "20"];
