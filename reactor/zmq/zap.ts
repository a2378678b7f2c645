/**
 * A ZAP handler: ZeroMQ asks it about each client with keys whether to let it in (https://rfc.zeromq.org/spec/27/).
 * @module
 */
import { Reply } from "zeromq";
import type { Log } from "@event-sink/lib";
import { toZ85 } from "./curve.ts";
import { receiveAll } from "./sockets.ts";

/**
 * Has ZeroMQ let in the clients with these public keys and no others, on all sockets of this process. Call it before they bind.
 *
 * @returns `close`, to call after the other sockets are closed, and `done`, which rejects when the handler fails
 */
export async function startZapHandler(
  clientKeys: string[],
  log: Log,
): Promise<{ done: Promise<void>; close(): void }> {
  const known = new Set(clientKeys);
  const socket = new Reply({ linger: 0 });
  await socket.bind("inproc://zeromq.zap.01");
  const done = receiveAll(socket, async (frames) => {
    // Version, request id, domain, address, identity, mechanism, credentials.
    const [, id, , address, , mechanism, credentials] = frames;
    const key = `${mechanism}` === "CURVE" && credentials ? toZ85(credentials) : "none";
    const isKnown = known.has(key);
    if (!isKnown) log.warn(`Refused a client at ${address}: its public key '${key}' is not known`);
    const status = isKnown ? ["200", "OK"] : ["400", "unknown key"];
    await socket.send(["1.0", id!, ...status, "", ""]);
  });
  return { done, close: () => socket.close() };
}
