/**
 * Saved messages and the tool as a real process, for the tests.
 * @module
 */
import assert from "node:assert/strict";
import type { ConsumeMessage } from "amqplib";
import { savedLine, type SavedMessage } from "@event-sink/lib";
import {
  connectProbe,
  eventually,
  layCable,
  startServers,
  startTool,
  unique,
} from "../../lib/testing.ts";

/** This folder. */
export const folder = "consumers/replay";

/** Servers, a queue bound to a topic exchange of the same name, and a directory for files, which goes with the test. */
export async function setup() {
  await using stack = new AsyncDisposableStack();
  const servers = stack.use(await startServers());
  const cable = stack.use(layCable(servers.amqpUrl));
  const queue = unique("replay");
  const probe = stack.use(
    await connectProbe(servers.amqpUrl, { queues: [queue], exchanges: [queue] }),
  );
  await probe.channel.assertQueue(queue, { durable: true });
  await probe.channel.assertExchange(queue, "topic", { durable: true });
  await probe.channel.bindQueue(queue, queue, "#");
  const directory = await Deno.makeTempDir({ dir: folder });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const owned = stack.move();
  const name = directory.slice(folder.length + 1);
  return {
    ...servers,
    cable,
    queue,
    probe,
    /** For what else a test needs to end with it. */
    owned,
    /** The file that {@linkcode save} writes, as the tool sees it, and as the test does. */
    file: `${name}/saved.ndjson`,
    path: `${directory}/saved.ndjson`,
    directory: name,
    save(lines: string[], end = "\n") {
      return Deno.writeTextFile(`${directory}/saved.ndjson`, lines.join("\n") + end);
    },
    /** The line of a message to the test's exchange. */
    line: (body: string, more: Partial<SavedMessage> = {}) =>
      savedLine({
        exchange: queue,
        routingKey: "a.key",
        body: new TextEncoder().encode(body),
        properties: { messageId: `id-${body}` },
        ...more,
      }),
    tool: (...args: string[]) =>
      owned.use(
        startTool(folder, "replay", args, { AMQP_URL: cable.url, MONGO_URL: servers.mongoUrl }),
      ),
    /** Takes everything out of the queue, once there are `count` messages. */
    async drain(count: number): Promise<ConsumeMessage[]> {
      await eventually(async () => assert.equal(await probe.count(queue), count));
      const messages: ConsumeMessage[] = [];
      for (let n = 0; n < count; n++) messages.push(await probe.take(queue) as never);
      return messages;
    },
    async bodies(count: number) {
      return (await this.drain(count)).map(({ content }) => content.toString());
    },
    position: async () => JSON.parse(await Deno.readTextFile(`${directory}/saved.ndjson.position`)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
