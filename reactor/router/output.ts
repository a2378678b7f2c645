/**
 * The router's outputs: PUB sockets, each of which gets every event.
 * @module
 */
import { Publisher } from "zeromq";
import { type Curve, curveServerOptions } from "../zmq/curve.ts";
import { bind, LINGER } from "../zmq/sockets.ts";

/** Events that may wait for a subscriber that reads too slowly. Beyond that PUB drops them; `sub` fetches them from the journal. */
const HIGH_WATER_MARK = 100_000;

/** An output that is bound. */
export interface Output {
  /** Where it listens. */
  endpoint: string;
  /** Sends an event; one call at a time. */
  publish(text: string): Promise<void>;
  /** Closes the socket. */
  close(): void;
}

/**
 * Opens an output.
 *
 * @throws when its address cannot be used
 */
export async function openOutput(uri: string, curve: Curve | undefined): Promise<Output> {
  const socket = new Publisher({
    sendHighWaterMark: HIGH_WATER_MARK,
    linger: LINGER,
    ...curveServerOptions(curve),
  });
  return {
    endpoint: await bind(socket, uri),
    publish: (text) => socket.send(text),
    close: () => socket.close(),
  };
}
