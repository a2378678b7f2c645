/**
 * A SUB socket on the router's stream.
 * @module
 */
import { Subscriber } from "zeromq";
import { type Log, UsageError } from "@event-sink/lib";
import { type curveClientOptions, watchHandshake } from "./curve.ts";
import { receiveAll, receiverOptions } from "./sockets.ts";

/** A connected socket. Dispose it to close it. */
export interface Subscription extends Disposable {
  /** Whether there is a connection to the router. */
  readonly connected: boolean;
  /**
   * Hands over the frames of each message until the signal aborts; the next message waits for the promise of the one before.
   *
   * @throws when the router refuses this client
   */
  receive(handle: (frames: Uint8Array[]) => Promise<void> | undefined): Promise<void>;
}

/**
 * Subscribes to every event, and keeps trying while the router is away.
 *
 * @throws {UsageError} when this is no address
 */
export function subscribe(
  uri: string,
  { keys, onConnect, signal, log }: {
    /** This client's CURVE options. */
    keys: Awaited<ReturnType<typeof curveClientOptions>>;
    /** Called when the connection is there, and again after each time that it was lost. */
    onConnect: () => void;
    signal: AbortSignal;
    log: Log;
  },
): Subscription {
  const socket = new Subscriber({
    ...receiverOptions(),
    ...keys,
    linger: 0,
    // A router that is cut off without a word is noticed within 15 seconds.
    heartbeatInterval: 5000,
    heartbeatTimeout: 10_000,
    reconnectInterval: 100,
    reconnectMaxInterval: 2000,
  });
  let connected = false;
  const refused = Promise.withResolvers<never>();
  refused.promise.catch(() => {}); // told by receive()
  socket.events.on("handshake", () => {
    connected = true;
    log.debug(`Connected to ${uri}`);
    onConnect();
  });
  socket.events.on("disconnect", () => {
    if (connected && !signal.aborted) log.warn(`Lost the router at ${uri}: trying again`);
    connected = false;
  });
  let told = "";
  watchHandshake(socket, ({ why, final }) => {
    const text = `Cannot subscribe to ${uri}: ${why}`;
    // ZeroMQ has given up: waiting would be for ever.
    if (final) refused.reject(new Error(text));
    else if (told !== text) log.warn(`${text} Trying again`);
    told = text;
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
    get connected() {
      return connected;
    },
    receive: (handle) => Promise.race([receiveAll(socket, handle), refused.promise]),
    [Symbol.dispose]: () => socket.close(),
  };
}
