/**
 * A SUB socket on the router's stream.
 * @module
 */
import { Subscriber } from "zeromq";
import { UsageError } from "@event-sink/lib";
import type { Log } from "../lib/log.ts";
import { connecting, receiveAll, receiving } from "./sockets.ts";

/** A connected socket. Dispose it to close it. */
export interface Subscription extends Disposable {
  /** Hands over the frames of each message, one after the other, until the signal aborts. */
  receive(handle: (frames: Uint8Array[]) => Promise<void> | undefined): Promise<void>;
}

/**
 * Subscribes to every event, and keeps trying while the router is away.
 *
 * @throws {UsageError} when this is no address
 */
export async function subscribe(
  uri: string,
  { serverKey, onConnect, signal, log }: {
    /** The router's public CURVE key, when it has keys. */
    serverKey: string | undefined;
    /** Is called when the connection is there, and whenever it is there again. */
    onConnect: () => void;
    signal: AbortSignal;
    log: Log;
  },
): Promise<Subscription> {
  const socket = new Subscriber({
    ...receiving({ highWaterMark: 10_000 }),
    ...await connecting(serverKey),
    linger: 0,
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
    receive: (handle) => receiveAll(socket, handle),
    [Symbol.dispose]: () => socket.close(),
  };
}
