/**
 * The router's inputs of ZeroMQ: PULL and SUB sockets, and ROUTER sockets for clients with REQ.
 * @module
 */
import { Buffer } from "node:buffer";
import { type Log, type OpenSpan, startSpan, tracing } from "@event-sink/lib";
import { Pull, Router, Subscriber } from "zeromq";
import type { ZmqFeed } from "../config.ts";
import type { Curve } from "../zmq/curve.ts";
import { parseHead } from "../event.ts";
import { spanOf } from "../trace.ts";
import { arrived, bind, drain, receiveAll, receiverOptions } from "../zmq/sockets.ts";
import type { Stream } from "./stream.ts";

/** An input at work. */
export interface ZmqInput {
  /** Where it listens, or what it is connected to. */
  endpoint: string;
  /** Rejects when the socket fails; resolves when it is closed. */
  done: Promise<void>;
  /** Takes no more events, and resolves when those that have arrived are in the stream, those of requests answered. */
  drain(): Promise<void>;
  /** Closes the socket. */
  close(): void;
}

/** What an input works with. */
export interface ZmqInputOptions {
  stream: Stream;
  log: Log;
  curve: Curve | undefined;
}

/**
 * A publisher that is cut off without a word is noticed within 25 seconds, and connected to again. By TCP, not by ZeroMQ's heartbeats, which programs
 * with libzmq before 4.2 do not answer.
 */
const KEEPALIVE = {
  tcpKeepalive: 1,
  tcpKeepaliveIdle: 10,
  tcpKeepaliveInterval: 5,
  tcpKeepaliveCount: 3,
};

/** Milliseconds that an input may take to receive what ZeroMQ holds already. */
const DRAIN_LIMIT = 5000;

/**
 * Opens an input.
 *
 * @throws when its address cannot be used
 */
export async function openZmqInput(feed: ZmqFeed, options: ZmqInputOptions): Promise<ZmqInput> {
  if (feed.type === "REP") return await openRequests(feed, options);
  if (feed.type === "SUB") {
    return takeAll(subscribe(feed.uri, options.log), feed.uri, feed, options);
  }
  const socket = new Pull(receiverOptions(options.curve));
  return takeAll(socket, await bind(socket, feed.uri), feed, options);
}

function subscribe(uri: string, log: Log): Subscriber {
  const socket = new Subscriber({ ...receiverOptions(), ...KEEPALIVE });
  socket.events.on("handshake", () => log.info(`Connected to the publisher at ${uri}`));
  socket.events.on("disconnect", () => log.warn(`Lost the publisher at ${uri}: trying again`));
  try {
    socket.connect(uri);
  } catch (error) {
    throw new Error(`Cannot subscribe to ${uri}: ${(error as Error).message}`);
  }
  socket.subscribe();
  return socket;
}

/** Pushes every message into the stream: nobody waits for an answer. */
function takeAll(
  socket: Pull | Subscriber,
  endpoint: string,
  feed: ZmqFeed,
  { stream, log }: ZmqInputOptions,
): ZmqInput {
  const done = receiveAll(socket, (frames) => {
    try {
      const { head, span } = open(single(frames), feed);
      stream.push(head, span?.trace);
      span?.end();
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
 * Opens a ROUTER socket in place of REP: REP takes one request at a time, so that each would wait for the journal alone. A ROUTER speaks to the
 * same REQ clients, with many at once (https://rfc.zeromq.org/spec/28/).
 */
async function openRequests(
  feed: ZmqFeed,
  { stream, log, curve }: ZmqInputOptions,
): Promise<ZmqInput> {
  const socket = new Router(receiverOptions(curve));
  const endpoint = await bind(socket, feed.uri);
  const answers = createAnswers(socket, log);
  const refuse = (envelope: Uint8Array[], error: unknown) =>
    answers.send(envelope, JSON.stringify({ error: (error as Error).message }));

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
      const { head, span } = open(single(frames.slice(delimiter + 1)), feed);
      stream.accept(head, span?.trace).then((text) => {
        span?.end();
        answers.send(envelope, text);
      }, (error) => {
        span?.end(error);
        refuse(envelope, error);
      });
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
      stopped = true; // the connections stay, for the answers
      await stream.idle();
      await answers.sent();
    },
    close: () => socket.close(),
  };
}

/** Sends answers one at a time, as zeromq.js demands. */
function createAnswers(socket: Router, log: Log) {
  const waiting: Uint8Array[][] = [];
  let sending = Promise.resolve();

  async function sendAll() {
    for (let next; (next = waiting[0]); waiting.shift()) {
      try {
        await socket.send(next);
      } catch (error) {
        log.debug(`Cannot answer: ${(error as Error).message}`); // the connection or the socket is gone
      }
    }
  }
  return {
    /** @param envelope the frames that lead back to the client, with the delimiter */
    send(envelope: Uint8Array[], text: string) {
      if (waiting.push([...envelope, Buffer.from(text)]) === 1) sending = sendAll();
    },
    /** Resolves when all that was to be sent is with ZeroMQ. */
    sent: () => sending,
  };
}

/** The head of an event, and the span in which the router takes it, which is the first one of an event without a trace. */
function open(frame: Uint8Array, feed: ZmqFeed): { head: string; span?: OpenSpan } {
  if (!tracing) return { head: parseHead(frame, feed) };
  let span: OpenSpan | undefined;
  const head = parseHead(frame, feed, (event) => {
    span = startSpan(...spanOf("process", event, { system: "zeromq", cause: event }));
    return span.trace;
  });
  return { head, span };
}

function single(frames: Uint8Array[]): Uint8Array {
  if (frames.length === 1) return frames[0]!;
  throw new TypeError(`an event is one frame, not ${frames.length}`);
}
