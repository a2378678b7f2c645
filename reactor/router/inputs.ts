/**
 * The router's inputs.
 * @module
 */
import { BadMessage, type Broker, type Channel, consume, type Tool } from "@event-sink/lib";
import { Pull, Router, Subscriber } from "zeromq";
import type { AmqpFeed, ZmqFeed } from "../config.ts";
import type { Curve } from "../zmq/curve.ts";
import { parseHead } from "../event.ts";
import { arrived, bind, drain, receiveAll, receiving } from "../zmq/sockets.ts";
import type { Stream } from "./stream.ts";

/** An input that runs. */
export interface Input {
  /** Where it listens. */
  endpoint: string;
  /** Rejects when it fails. */
  done: Promise<void>;
  /** Takes no more events, and hands on what it holds. */
  drain(): Promise<void>;
  close(): void;
}

interface Options {
  stream: Stream;
  log: Tool<Record<never, never>>["log"];
  curve: Curve | undefined;
}

/** Longest time that an input may take to hand on what it holds, in milliseconds. */
const DRAIN_LIMIT = 5000;

/** Opens a ZeroMQ input. */
export async function openInput(feed: ZmqFeed, options: Options): Promise<Input> {
  if (feed.type === "REP") return await openRequests(feed, options);
  const { stream, log, curve } = options;
  let endpoint = feed.uri;
  let socket: Pull | Subscriber;
  if (feed.type === "PULL") {
    socket = new Pull(receiving({ curve }));
    endpoint = await bind(socket, feed.uri);
  } else {
    const subscriber = socket = new Subscriber(receiving({}));
    try {
      subscriber.connect(feed.uri);
    } catch (error) {
      throw new Error(`Cannot subscribe to ${feed.uri}: ${(error as Error).message}`);
    }
    subscriber.subscribe();
  }
  const done = receiveAll(socket, (frames) => {
    try {
      stream.push(parseHead(single(frames), feed));
    } catch (error) {
      log.warn(`Refused from ${endpoint}: ${(error as Error).message}`);
    }
    return stream.room();
  });
  return {
    endpoint,
    done,
    drain: () => drain(socket, endpoint, DRAIN_LIMIT),
    close: () => socket.close(),
  };
}

/**
 * A REP socket takes one request at a time, and each would wait for the journal alone. A ROUTER speaks to the same REQ clients, to all at
 * once.
 */
async function openRequests(feed: ZmqFeed, { stream, log, curve }: Options): Promise<Input> {
  const socket = new Router(receiving({ curve }));
  const endpoint = await bind(socket, feed.uri);
  const answers: [Uint8Array[], string][] = [];
  let answering = Promise.resolve();

  function answer(envelope: Uint8Array[], text: string) {
    // One send at a time is zeromq.js's rule.
    if (answers.push([envelope, text]) === 1) answering = sendAnswers();
  }
  async function sendAnswers() {
    for (let next; (next = answers[0]); answers.shift()) {
      const [envelope, text] = next;
      try {
        await socket.send([...envelope, text]);
      } catch (error) {
        log.debug(`Cannot answer: ${(error as Error).message}`); // the connection or the socket is gone
      }
    }
  }
  const refuse = (envelope: Uint8Array[], error: unknown) =>
    answer(envelope, JSON.stringify({ error: (error as Error).message }));

  let stopped = false;
  const done = receiveAll(socket, (frames) => {
    if (stopped) return undefined;
    const delimiter = frames.findIndex(({ length }) => length === 0);
    const envelope = frames.slice(0, delimiter + 1);
    if (delimiter < 0) {
      log.warn(`Refused from ${endpoint}: no request of a REQ socket`);
      return undefined;
    }
    try {
      const head = parseHead(single(frames.slice(delimiter + 1)), feed);
      stream.accept(head).then(
        (text) => answer(envelope, text),
        (error) => refuse(envelope, error),
      );
    } catch (error) {
      refuse(envelope, error);
    }
    return stream.room();
  });
  return {
    endpoint,
    done,
    async drain() {
      await arrived(socket);
      // Its connections stay, for the answers.
      stopped = true;
      await stream.idle();
      await answering;
    },
    close: () => socket.close(),
  };
}

function single(frames: Uint8Array[]): Uint8Array {
  if (frames.length === 1) return frames[0]!;
  throw new TypeError(`an event is one frame, not ${frames.length}`);
}

/** Feeds the stream from a queue until `signal` aborts; a message is acknowledged when its event is published. */
export async function feedFromQueue(
  broker: Broker,
  feed: AmqpFeed,
  stream: Stream,
  signal: AbortSignal,
): Promise<void> {
  const { queue_name: queue } = feed;
  await consume(broker, {
    queue,
    declare: (channel) => declare(broker, channel, feed),
    prefetch: 2000,
    signal,
  }, async ({ body }) => {
    let head: string;
    try {
      head = parseHead(body, feed);
    } catch (error) {
      throw new BadMessage((error as Error).message);
    }
    await stream.accept(head);
  });
}

/** Other programs may have declared them with other arguments: what is there is used as it is. */
async function declare(broker: Broker, channel: Channel, feed: AmqpFeed) {
  const { queue_name: queue, bindings, routing_key, exchange_type } = feed;
  if (!await exists(broker, (probe) => probe.checkQueue(queue))) {
    await channel.assertQueue(queue, { durable: true });
  }
  for (const exchange of bindings) {
    if (!await exists(broker, (probe) => probe.checkExchange(exchange))) {
      await channel.assertExchange(exchange, exchange_type, { durable: true });
    }
    await channel.bindQueue(queue, exchange, routing_key);
  }
}

async function exists(broker: Broker, check: (channel: Channel) => Promise<unknown>) {
  const probe = await broker.createChannel();
  probe.on("error", () => {}); // the check brings the same
  try {
    await check(probe);
    await probe.close();
    return true;
  } catch (error) {
    if ((error as { code?: number }).code !== 404) throw error;
    return false;
  }
}
