/**
 * The embedded default: an AMQP 0-9-1 broker and a MongoDB-compatible store in this process, for one machine.
 * @module
 */
import { startBroker } from "./amqp/mod.ts";
import { startStore } from "./mongo/mod.ts";

/** Both servers, running. Dispose it to stop them; state in a temporary directory goes with them. */
export interface Embedded extends AsyncDisposable {
  /** Where the broker listens. */
  readonly amqpUrl: string;
  /** Where the store listens. */
  readonly mongoUrl: string;
}

/** How to start. */
export interface EmbeddedOptions {
  /** Directory that keeps the state; created when missing. By default a temporary one. */
  data?: string;
  /** Port of the broker; 0, the default, takes any free one. */
  amqpPort?: number;
  /** Port of the store; 0, the default, takes any free one. */
  mongoPort?: number;
  /** Bytes of the largest message that the broker takes. Default 16777216 (16 MiB), as RabbitMQ 4's. */
  maxMessageSize?: number;
}

/**
 * Starts both on the loopback interface.
 *
 * @throws Error `Cannot listen on ADDRESS: ...`, `Cannot use the data directory 'DIR': ...`, `Cannot open ...`
 */
export async function startEmbedded(options: EmbeddedOptions = {}): Promise<Embedded> {
  const { data, amqpPort = 0, mongoPort = 0, maxMessageSize } = options;
  await using undo = new AsyncDisposableStack();
  const directory = data ?? await Deno.makeTempDir({ prefix: "event-sink-" });
  if (data === undefined) undo.defer(() => Deno.remove(directory, { recursive: true }));
  undo.use(await claim(directory));
  const broker = undo.use(
    await startBroker({ port: amqpPort, file: `${directory}/amqp.sqlite`, maxMessageSize }),
  );
  const store = undo.use(await startStore({ port: mongoPort, file: `${directory}/mongo.sqlite` }));
  const stack = undo.move();
  return {
    amqpUrl: broker.url,
    mongoUrl: store.url,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/**
 * Make the data directory, if need be, and lock it: two processes on one would undo each other's work. The lock goes with the
 * process, however it ends.
 */
async function claim(directory: string): Promise<Disposable> {
  let file: Deno.FsFile;
  try {
    // One that was there before keeps its mode: it may hold more than ours. Our files are for their owner alone anyway.
    await Deno.mkdir(directory, { recursive: true, mode: 0o700 });
    file = await Deno.open(`${directory}/lock`, { create: true, write: true, mode: 0o600 });
  } catch (error) {
    throw cannotUse(directory, reasonOf(error as Error), error);
  }
  if (await file.tryLock(true)) return file;
  file.close();
  throw cannotUse(directory, "another process uses it");
}

function cannotUse(directory: string, reason: string, cause?: unknown): Error {
  return new Error(`Cannot use the data directory '${directory}': ${reason}`, { cause });
}

function reasonOf(error: Error): string {
  if (!(error instanceof Deno.errors.NotCapable)) return error.message;
  // Deno's own message says to run again with all permissions, which nobody should.
  return "this program has no permission to write there (Deno lets none write under /dev, /proc and /sys)";
}
