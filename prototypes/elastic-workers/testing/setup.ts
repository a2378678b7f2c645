/**
 * The tools as real processes, for the tests: an app of its own, and queues of its own, for each.
 * @module
 */
import { Buffer } from "node:buffer";
import {
  connectProbe,
  eventually,
  layCable,
  type Running,
  startServers,
  startTool,
  unique,
} from "../../../lib/testing.ts";
import type { Report } from "../message.ts";

/** A tool by the name of its task. */
export type ToolName = "publisher" | "worker" | "monitor" | "scaler";

/** The broker under test, and what a user does with the tools. */
export async function setup(name: string) {
  await using stack = new AsyncDisposableStack();
  const { amqpUrl } = stack.use(await startServers());
  // Between the tools and the broker: can be cut.
  const cable = stack.use(layCable(amqpUrl));
  const appId = unique(name);
  const queues = {
    upload: `${appId}_upload`,
    report: `${appId}_report`,
    scale: `${appId}_scale`,
    started: `${appId}_report_started`,
  };
  const probe = stack.use(await connectProbe(amqpUrl, { queues: Object.values(queues) }));
  const directory = await Deno.makeTempDir({ prefix: "event-sink-elastic-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const owned = stack.move();
  const named: Record<ToolName, string[]> = {
    publisher: ["--app-id", appId],
    worker: ["--app-id", appId, "--report-queuename", queues.report],
    monitor: ["--report-queuename", queues.report, "--scale-queuename", queues.scale],
    scaler: ["--report-queuename", queues.report, "--scale-queuename", queues.scale],
  };
  return {
    amqpUrl,
    cable,
    appId,
    queues,
    probe,
    directory,
    /** Starts a tool with the names of this test, flags and variables. */
    start(tool: ToolName, ...options: (string | Record<string, string>)[]): Running {
      const args = options.filter((each) => typeof each === "string");
      const [env = {}] = options.filter((each) => typeof each === "object");
      return owned.use(
        startTool("prototypes/elastic-workers", tool, [...named[tool], ...args], {
          AMQP_URL: cable.url,
          ...env,
        }),
      );
    },
    /** Starts a worker and waits until it is ready. */
    async worker(...args: (string | Record<string, string>)[]): Promise<Running> {
      const worker = this.start("worker", ...args);
      await worker.seen(/Waiting for uploads/);
      return worker;
    },
    send(queue: string, body: unknown, properties = {}) {
      const text = typeof body === "string" ? body : JSON.stringify(body);
      probe.channel.sendToQueue(queue, Buffer.from(text), { persistent: true, ...properties });
    },
    /** Waits for the next report. */
    async report(): Promise<{ id: string; report: Report; contentType: string }> {
      const { content, properties } = await probe.take(queues.report);
      const { messageId: id, contentType } = properties;
      return { id, report: JSON.parse(content.toString()), contentType };
    },
    /** Waits until a queue has so many messages ready. */
    counts: (queue: string, expected: number) =>
      eventually(async () => {
        const count = await probe.count(queue);
        if (count !== expected) throw new Error(`${count} messages in ${queue}, not ${expected}`);
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
