/**
 * Dead letters and the tool as a real process, for the tests.
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { ConsumeMessage, Options } from "amqplib";
import { connectBroker, consume, createLog, type Message, pause } from "@event-sink/lib";
import {
  connectProbe,
  eventually,
  layCable,
  startServers,
  startTool,
  unique,
} from "../../lib/testing.ts";

/** This folder. */
export const folder = "consumers/dead-letters";

/** A dead letter to put into the test's dead-letter queue; the defaults are what consume() writes. */
export interface Letter extends Options.Publish {
  body?: string | Buffer;
  reason?: string;
  from?: string;
}

/** A queue with a dead-letter queue, and what puts letters there, looks at them and runs the tool on it. */
export async function setup() {
  await using stack = new AsyncDisposableStack();
  const servers = stack.use(await startServers());
  const cable = stack.use(layCable(servers.amqpUrl));
  const queue = unique("dead");
  const dlq = `${queue}.dlq`;
  const probe = stack.use(
    await connectProbe(servers.amqpUrl, { queues: [queue], exchanges: [queue] }),
  );
  await probe.channel.assertQueue(queue, { durable: true });
  await probe.channel.assertQueue(dlq, { durable: true });
  const owned = stack.move();
  return {
    amqpUrl: servers.amqpUrl,
    cable,
    queue,
    dlq,
    probe,
    tool: (...args: string[]) =>
      owned.use(
        startTool(folder, "dead-letters", [...args, "--queue", dlq], { AMQP_URL: cable.url }),
      ),
    /** The tool for whatever queue. */
    anywhere: (...args: string[]) =>
      owned.use(startTool(folder, "dead-letters", args, { AMQP_URL: cable.url })),
    async fill(letters: Letter[]) {
      const channel = await probe.model.createConfirmChannel();
      for (const { body = "", reason = "it is bad", from = queue, ...options } of letters) {
        channel.publish("", dlq, Buffer.from(body), {
          persistent: true,
          headers: {
            "x-attempts": 5,
            "x-reason": reason,
            "x-original-exchange": "some exchange",
            "x-original-routing-key": "some.key",
            "x-original-queue": from,
          },
          ...options,
        });
      }
      await channel.waitForConfirms();
      await channel.close();
    },
    /** What is in a queue, which stays. */
    async look(name: string): Promise<ConsumeMessage[]> {
      const channel = await probe.model.createChannel();
      const found: ConsumeMessage[] = [];
      await channel.prefetch(65_535);
      await channel.consume(name, (message) => void found.push(message!));
      for (let before = -1; found.length > before || await probe.waiting(name) > 0;) {
        before = found.length;
        await pause(50);
      }
      await channel.close();
      return found;
    },
    /** The ids of what is in a queue, in order; waits until `count` are. */
    async ids(name: string, count: number): Promise<string[]> {
      await eventually(async () => assert.equal(await probe.count(name), count));
      return (await this.look(name)).map(({ properties }) => properties.messageId);
    },
    /** Consumes the original queue, until the test ends. */
    async consume(handler: (message: Message) => Promise<void> | void) {
      const stop = new AbortController();
      const log = createLog({ name: "test", level: "error" });
      const broker = await connectBroker({ amqpUrl: servers.amqpUrl, signal: stop.signal, log });
      const ready = Promise.withResolvers<void>();
      const running = consume(broker, {
        queue,
        declare: (channel) => channel.assertQueue(queue, { durable: true }),
        prefetch: 100,
        signal: stop.signal,
        ready: ready.resolve,
      }, handler);
      owned.defer(async () => {
        stop.abort();
        await running;
        await broker[Symbol.asyncDispose]();
      });
      await ready.promise;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** What {@linkcode setup} returns. */
export type Test = Awaited<ReturnType<typeof setup>>;

/** Letters with the ids m0, m1, ... */
export const numbered = (count: number, more: (n: number) => Letter = () => ({})) =>
  Array.from({ length: count }, (_, n) => ({ messageId: `m${n}`, ...more(n) }));
/** So many that a replay takes some time. */
export const many = numbered(
  20_000,
  (n) => ({ body: `{"number":${n},"text":"${"x".repeat(100)}"}` }),
);
/** Their message ids. */
export const idsOf = (letters: Letter[]) => letters.map(({ messageId }) => messageId);
