/**
 * Fixture of this folder's tests.
 * @module
 */
import { connectProbe, layCable, startServers, startTool, unique } from "../../lib/testing.ts";

/** The folder under test. */
export const folder = "consumers/echo";

/** The line with which recv says that it consumes. */
export const ready = /^ \[\*\] Waiting for messages\. To exit press CTRL\+C$/m;

/** A broker behind a cable, a queue of its own, and the tools to start. */
export async function setup() {
  await using stack = new AsyncDisposableStack();
  const servers = stack.use(await startServers());
  const cable = stack.use(layCable(servers.amqpUrl));
  const queue = unique("echo");
  const probe = stack.use(await connectProbe(servers.amqpUrl, { queues: [queue] }));
  const env = { AMQP_URL: cable.url };
  const owned = stack.move();
  return {
    amqpUrl: servers.amqpUrl,
    cable,
    queue,
    probe,
    recv: (...args: string[]) =>
      owned.use(startTool(folder, "recv", ["--queue", queue, ...args], env)),
    send: (...args: string[]) => owned.use(startTool(folder, "send", args, env)),
    /** A file below this folder, removed in the end; returns its name there. */
    async file(name: string, text: string): Promise<string> {
      const directory = await Deno.makeTempDir({ dir: folder });
      owned.defer(() => Deno.remove(directory, { recursive: true }));
      await Deno.writeTextFile(`${directory}/${name}`, text);
      return `${directory.slice(folder.length + 1)}/${name}`;
    },
    tool: (task: string, args: string[], env: Record<string, string>) =>
      owned.use(startTool(folder, task, args, env)),
    /** Binds the test's queue without a recv. */
    async bind() {
      await probe.channel.assertQueue(queue, { durable: true });
      await probe.channel.assertExchange("clowder.metrics", "fanout", { durable: true });
      await probe.channel.bindQueue(queue, "clowder.metrics", "");
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Other tests publish to the same exchange, so a test looks for its own words. */
export function event(): string {
  return `event ${crypto.randomUUID()}`;
}
