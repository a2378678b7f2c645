/**
 * ZeroMQ sockets under Deno: their limits, and how to receive from them without missing a message.
 * @module
 */
import type { Socket } from "zeromq";
import { type Curve, curveServerOptions } from "./curve.ts";

/** Bytes of a frame from which on ZeroMQ ends the connection. Far above the limit of an event, so that an event that is too large is answered. */
const MAX_FRAME = 64 * 1024 * 1024;

/**
 * Milliseconds that ZeroMQ may take to send what it holds when the process ends. By default it takes for ever: a client that does not read
 * would keep the process from ending.
 */
export const LINGER = 2000;

/**
 * Messages from each peer that ZeroMQ may hold while nobody receives them: few, as they may be large, and ZeroMQ knows no limit in bytes. More would
 * not make it faster, since the network holds small ones in any case.
 */
const HIGH_WATER_MARK = 16;

/** Milliseconds between two looks for a message whose arrival was not signalled. */
const RESCUE = 10;

/**
 * The options of a socket that receives.
 *
 * @param curve the keys, of a socket that binds
 */
export function receiverOptions(curve?: Curve) {
  return {
    receiveHighWaterMark: HIGH_WATER_MARK,
    maxMessageSize: MAX_FRAME,
    linger: LINGER,
    ...curveServerOptions(curve),
  };
}

/** http://api.zeromq.org/4-3:zmq-setsockopt; zeromq.js does not offer it for sockets that only receive. */
const ZMQ_SNDTIMEO = 28;

/**
 * Hands every message of a socket to `handle`, one after the other, until the socket is closed. When `handle` returns a promise, the next
 * message waits for it.
 *
 * ZeroMQ signals a message once, on its arrival (http://api.zeromq.org/4-3:zmq-getsockopt, ZMQ_FD), and now and then Deno 2.9's uv_poll misses
 * that. So the socket is looked at every few milliseconds, too. When there is a message, a send() makes zeromq.js notice it, even though the
 * send itself fails on such a socket. A `receiveTimeout` would do the same, but its uv_timer crashes Deno.
 *
 * @throws when the socket fails
 */
export async function receiveAll(
  socket: Socket & { receive(): Promise<Uint8Array[]> },
  handle: (frames: Uint8Array[]) => Promise<unknown> | undefined,
): Promise<void> {
  const { Socket } = await import("zeromq");
  const send = (Socket.prototype as unknown as { send(frame: null): Promise<void> }).send;
  const options = socket as unknown as { setInt32Option(option: number, value: number): void };
  options.setInt32Option(ZMQ_SNDTIMEO, 0);
  // This also keeps the event loop alive: a native socket does not.
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
 * Stops taking new messages, and resolves when those that ZeroMQ holds already are received, or after `limit` milliseconds.
 *
 * @param endpoint what the socket is bound or connected to
 */
export async function drain(socket: Socket, endpoint: string, limit: number): Promise<void> {
  await arrived(socket);
  // disconnect() works for an endpoint that the socket is bound to, too. unbind() would do it in another thread, and meanwhile receiving is
  // forbidden here.
  socket.disconnect(endpoint);
  await quiet(socket, limit);
}

/** Resolves when what the network has delivered by now is received, or after a second, since clients may go on for ever. */
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

/** Whether other machines may reach what is bound to this address: it is neither a path nor on the loopback interface. */
export function isReachable(uri: string): boolean {
  return !/^(ipc|inproc):|^tcp:\/\/(127\.[\d.]+|localhost|lo|\[::1\]):/.test(uri);
}

/**
 * Binds a socket, and returns the endpoint with its actual port.
 *
 * @throws when the address cannot be used, naming it and the reason
 */
export async function bind(socket: Socket, uri: string): Promise<string> {
  try {
    await socket.bind(uri.replace("//localhost:", "//127.0.0.1:"));
  } catch (error) {
    throw new Error(`Cannot listen on ${uri}: ${(error as Error).message}`);
  }
  return socket.lastEndpoint!;
}
