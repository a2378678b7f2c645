/**
 * ZeroMQ sockets under Deno: limits, and waiting that neither misses a message nor ends the process.
 * @module
 */
import type { Socket } from "zeromq";
import { type Curve, serving } from "./curve.ts";

/** Larger ones end their connection; smaller ones that are too large for an event get an error that says so. */
const MAX_FRAME = 64 * 1024 * 1024;

/**
 * Longest time that ZeroMQ may take to send what it holds when the process ends, in milliseconds. By default that is for ever, and a client
 * that does not read would keep the process from ending.
 */
export const LINGER = 2000;

/** Milliseconds between two looks at sockets that wait for a message. */
const RESCUE = 10;

/** Options of every socket that receives. */
export function receiving({ curve, highWaterMark = 1000 }: {
  curve?: Curve;
  highWaterMark?: number;
}) {
  return {
    receiveHighWaterMark: highWaterMark,
    maxMessageSize: MAX_FRAME,
    linger: LINGER,
    ...serving(curve),
  };
}

const ZMQ_SNDTIMEO = 28;

/**
 * Hands every message of a socket to `handle`, one after the other, until the socket is closed.
 *
 * ZeroMQ signals by edge (http://api.zeromq.org/4-3:zmq-getsockopt, ZMQ_FD), and Deno 2.9's uv_poll loses an edge now and then: a look at
 * the socket every few milliseconds finds what was missed. A send(), though it fails on such a socket, makes zeromq.js take it. A
 * `receiveTimeout` would do the same, but its uv_timer crashes Deno.
 */
export async function receiveAll(
  socket: Socket & { receive(): Promise<Uint8Array[]> },
  handle: (frames: Uint8Array[]) => Promise<unknown> | undefined,
): Promise<void> {
  const { Socket } = await import("zeromq");
  const send = (Socket.prototype as unknown as { send(frame: null): Promise<void> }).send;
  const options = socket as unknown as { setInt32Option(option: number, value: number): void };
  options.setInt32Option(ZMQ_SNDTIMEO, 0);
  // It keeps the event loop going, too: a native socket does not.
  const timer = setInterval(() => {
    if (!socket.closed && socket.readable) send.call(socket, null).catch(() => {});
  }, RESCUE);
  try {
    while (!socket.closed) {
      const frames = await socket.receive();
      const busy = handle(frames);
      if (busy) await busy;
    }
  } catch (error) {
    if (!socket.closed) throw error;
  } finally {
    clearInterval(timer);
  }
}

/**
 * Stops taking new messages, and resolves when those that ZeroMQ holds already are handled, or after `limit` milliseconds.
 *
 * @param endpoint what the socket is bound or connected to
 */
export async function drain(socket: Socket, endpoint: string, limit: number): Promise<void> {
  await arrived(socket);
  // It ends what a socket is bound to as well. unbind() does so in another thread, during which this one may not receive.
  socket.disconnect(endpoint);
  await quiet(socket, limit);
}

/** Resolves when what the network has delivered already is read, or after a second: clients may go on for ever. */
export async function arrived(socket: Socket): Promise<void> {
  await quiet(socket, 1000);
}

async function quiet(socket: Socket, limit: number) {
  const end = Date.now() + limit;
  for (let looks = 0; looks < 5 && Date.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    looks = socket.readable ? 0 : looks + 1;
  }
}

/** Binds a socket, and says what is in the way. */
export async function bind(socket: Socket, uri: string): Promise<string> {
  try {
    await socket.bind(uri.replace("//localhost:", "//127.0.0.1:"));
  } catch (error) {
    throw new Error(`Cannot listen on ${uri}: ${(error as Error).message}`);
  }
  return socket.lastEndpoint!;
}
