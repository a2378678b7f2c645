/**
 * Fixture of the tests of consume() and of retries.
 * @module
 */
import { Buffer } from "node:buffer";
import { connectBroker } from "./broker.ts";
import { consume, type ConsumeOptions, type Message } from "./consume.ts";
import { createLog } from "./log.ts";
import { connectProbe, layCable, startServers, unique } from "./testing.ts";

const log = createLog({ name: "test", level: "error" });

/** A broker behind a cable, a queue of its own, and a consumer when it is started. */
export async function setup(name: string) {
  await using stack = new AsyncDisposableStack();
  const servers = stack.use(await startServers());
  const cable = stack.use(layCable(servers.amqpUrl));
  const queue = unique(name);
  const probe = stack.use(await connectProbe(servers.amqpUrl, { queues: [queue] }));
  await probe.channel.assertQueue(queue, { durable: true });
  const stop = new AbortController();
  const broker = stack.use(await connectBroker({ amqpUrl: cable.url, signal: stop.signal, log }));
  const owned = stack.move();

  /** Starts consuming; `stopped()` stops it and waits for its end. */
  function start(
    handler: (message: Message) => Promise<void> | void,
    more: Partial<ConsumeOptions> = {},
  ) {
    const running = consume(broker, {
      queue,
      declare: (channel) => channel.assertQueue(queue, { durable: true }),
      signal: stop.signal,
      retryDelay: 20,
      ...more,
    }, handler);
    running.catch(() => {}); // read by stopped() or rejects()
    return {
      running,
      stopped() {
        stop.abort();
        return running;
      },
    };
  }
  return {
    cable,
    queue,
    probe,
    start,
    send: (text: string, options = {}) =>
      probe.channel.sendToQueue(queue, Buffer.from(text), options),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A body as text. */
export const text = ({ body }: Message) => new TextDecoder().decode(body);
