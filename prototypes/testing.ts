/**
 * The prototypes as real processes, for the tests. Their names are contracts, so that several runs share them: a test goes by its own words.
 * @module
 */
import { type Cable, layCable, type Running, startServers, startTool } from "../lib/testing.ts";

/** What a recv says when it consumes. */
export const ready = /^ \[\*\] Waiting for messages\. To exit press CTRL\+C$/m;

/** The broker under test, and the tools of a test, which end with it. */
export async function setup() {
  await using stack = new AsyncDisposableStack();
  const { amqpUrl } = stack.use(await startServers());
  const owned = stack.move();
  return {
    amqpUrl,
    cable: (): Cable => owned.use(layCable(amqpUrl)),
    /** Starts a pattern's task; a last argument that is no text holds variables. */
    tool(pattern: string, task: string, ...args: (string | Record<string, string>)[]): Running {
      const env = typeof args.at(-1) === "object" ? args.pop() : {};
      return owned.use(startTool(`prototypes/${pattern}`, task, args as string[], {
        AMQP_URL: amqpUrl,
        ...env as Record<string, string>,
      }));
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
