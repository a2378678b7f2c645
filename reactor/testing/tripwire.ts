/**
 * A MongoDB that goes away at a given moment, for the tests.
 * @module
 */

/** A relay in front of MongoDB that breaks down when a client says a certain word. */
export interface Tripwire extends AsyncDisposable {
  /** MongoDB's URL by way of the relay. */
  url: string;
  /** Resolves when it has broken down. */
  tripped: Promise<void>;
  /** Lets everything through from now on. */
  repair(): void;
}

/**
 * Puts a tripwire in front of a MongoDB.
 *
 * @param word what must not get through, such as the name of a command
 */
export function layTripwire(mongoUrl: string, word: string): Tripwire {
  const far = new URL(mongoUrl);
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open = new Set<Deno.Conn>();
  const tripped = Promise.withResolvers<void>();
  let state = "armed" as "armed" | "down" | "repaired";
  const decoder = new TextDecoder("latin1");

  function trip() {
    state = "down";
    closeAll();
    tripped.resolve();
  }
  function closeAll() {
    for (const end of open) {
      try {
        end.close();
      } catch {
        // Closed by its peer.
      }
    }
    open.clear();
  }
  async function relay(client: Deno.Conn) {
    open.add(client);
    try {
      const server = await Deno.connect({ hostname: far.hostname, port: Number(far.port) });
      open.add(server);
      const watch = new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, out) {
          if (state === "armed" && decoder.decode(chunk).includes(word)) trip();
          else out.enqueue(chunk);
        },
      });
      await Promise.allSettled([
        client.readable.pipeThrough(watch).pipeTo(server.writable),
        server.readable.pipeTo(client.writable),
      ]);
    } catch {
      closeAll();
    }
  }
  (async () => {
    for await (const client of listener) {
      if (state === "down") client.close();
      else relay(client);
    }
  })();
  return {
    url: `mongodb://127.0.0.1:${(listener.addr as Deno.NetAddr).port}/?directConnection=true`,
    tripped: tripped.promise,
    repair: () => void (state = "repaired"),
    // deno-lint-ignore require-await
    async [Symbol.asyncDispose]() {
      listener.close();
      closeAll();
    },
  };
}
