/**
 * A SUB socket on the router's stream.
 * @module
 */
import { Subscriber } from "zeromq";
import { UsageError } from "@event-sink/lib";
import type { Log } from "../lib/log.ts";
import { MAX_EVENT_BYTES } from "./event.ts";

/** A connected socket. Dispose it to close it. */
export interface Subscription extends Disposable {
  /** The frames of each message; ends when the signal aborts. */
  messages: AsyncIterable<Uint8Array[]>;
}

/**
 * Subscribes to every event, and keeps trying while the router is away.
 *
 * @throws {UsageError} when this is no address
 */
export function subscribe(
  uri: string,
  { onConnect, signal, log }: {
    /** Is called when the connection is there, and whenever it is there again. */
    onConnect: () => void;
    signal: AbortSignal;
    log: Log;
  },
): Subscription {
  const socket = new Subscriber({
    linger: 0,
    receiveHighWaterMark: 10_000,
    // Numbers and what a router fills in come on top; a longer frame closes the connection.
    maxMessageSize: MAX_EVENT_BYTES + 65_536,
    reconnectInterval: 100,
    reconnectMaxInterval: 2000,
  });
  socket.events.on("handshake", () => {
    log.debug(`Connected to ${uri}`);
    onConnect();
  });
  socket.events.on("disconnect", () => {
    if (!signal.aborted) log.warn(`Lost the router at ${uri}: trying again`);
  });
  try {
    socket.connect(uri);
  } catch (error) {
    socket.close();
    throw new UsageError(`--publisher-uri: cannot use '${uri}': ${(error as Error).message}`);
  }
  socket.subscribe();
  signal.addEventListener("abort", () => socket.close());
  return {
    messages: socket,
    [Symbol.dispose]: () => socket.close(),
  };
}
