/**
 * Fixtures of the tests: the servers, a cable to cut, real processes. Imported by tests only.
 * @module
 */
import assert from "node:assert/strict";
import amqplib, { type Channel, type ChannelModel } from "amqplib";

/** The repository's root, with a slash at its end. */
export const root = new URL("../", import.meta.url).pathname;

/** The servers under test. */
export interface Servers extends AsyncDisposable {
  amqpUrl: string;
  mongoUrl: string;
}

/** The servers of `AMQP_URL` and `MONGO_URL`; an embedded one in place of each that is not set. */
export async function startServers(): Promise<Servers> {
  const { AMQP_URL, MONGO_URL } = Deno.env.toObject();
  if (AMQP_URL && MONGO_URL) {
    return { amqpUrl: AMQP_URL, mongoUrl: MONGO_URL, async [Symbol.asyncDispose]() {} };
  }
  const { startEmbedded } = await import("@event-sink/embedded");
  const embedded = await startEmbedded();
  return {
    amqpUrl: AMQP_URL || embedded.amqpUrl,
    mongoUrl: MONGO_URL || embedded.mongoUrl,
    [Symbol.asyncDispose]: () => embedded[Symbol.asyncDispose](),
  };
}

/** A name that no other test uses. */
export function unique(name: string): string {
  return `test.${name}.${crypto.randomUUID().slice(0, 8)}`;
}

/** A plain client of the broker under test, for what a test sees and does from outside. */
export interface Probe extends AsyncDisposable {
  model: ChannelModel;
  channel: Channel;
  /** Messages in a queue, ready for delivery; declares it. */
  count(queue: string): Promise<number>;
  /** The same of a queue that may not exist, or has arguments. */
  waiting(queue: string): Promise<number>;
  /** Takes a message out of a queue, waiting for it. */
  take(queue: string): Promise<amqplib.GetMessage>;
}

/** Connects a probe, which deletes the named queues and exchanges, with their dead-letter and retry queues, in the end. */
export async function connectProbe(
  amqpUrl: string,
  { queues = [], exchanges = [] }: { queues?: string[]; exchanges?: string[] } = {},
): Promise<Probe> {
  const model = await amqplib.connect(amqpUrl, { noDelay: true });
  model.on("error", () => {});
  const channel = await model.createChannel();
  channel.on("error", () => {});
  return {
    model,
    channel,
    async count(queue) {
      return (await channel.assertQueue(queue, { durable: true })).messageCount;
    },
    async waiting(queue) {
      const asking = await model.createChannel();
      asking.on("error", () => {}); // 404 closes it
      const { messageCount } = await asking.checkQueue(queue).catch(() => ({ messageCount: 0 }));
      await asking.close().catch(() => {});
      return messageCount;
    },
    take: (queue) =>
      eventually(async () => {
        // It may not be there yet; a quorum queue that somebody else is just declaring answers a get with 541.
        const { messageCount } = await channel.assertQueue(queue, { durable: true });
        const message = messageCount > 0 && await channel.get(queue, { noAck: true });
        assert(message, `no message in ${queue}`);
        return message;
      }),
    async [Symbol.asyncDispose]() {
      const cleaner = await model.createChannel();
      for (const queue of queues) {
        const retries = [1, 2, 3, 4, 5].map((attempt) => `${queue}.retry.${attempt}`);
        for (const name of [queue, `${queue}.dlq`, ...retries]) await cleaner.deleteQueue(name);
      }
      for (const exchange of exchanges) await cleaner.deleteExchange(exchange);
      await model.close();
    },
  };
}

/** Repeats `check` until it does not throw, for 20 seconds at most. */
export async function eventually<T>(check: () => T | Promise<T>, limit = 20_000): Promise<T> {
  const end = Date.now() + limit;
  while (true) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** A TCP relay in front of a server, whose cable can be cut. */
export interface Cable extends AsyncDisposable {
  /** The server's URL by way of the relay. */
  url: string;
  /** Breaks every connection; with `down`, none comes up until `plug()`. */
  cut(down?: "down"): void;
  /** Lets connections through again. */
  plug(): void;
  /**
   * Holds back what either side sends from now on, as a server that hangs does; `last`: on the latest connection only; `open`: on those of
   * now, which are half-open then, while whoever connects again gets through.
   */
  freeze(which?: "last" | "open"): void;
  /** Lets what was held back through. */
  thaw(): void;
}

/** What the bytes of one connection go through, from the client to the server. */
export type Passage = TransformStream<Uint8Array, Uint8Array>;

/**
 * Puts a cable in front of a server's URL.
 *
 * @param passage called for each connection
 */
export function layCable(serverUrl: string, passage = () => new TransformStream()): Cable {
  const url = new URL(serverUrl);
  const hostname = url.hostname;
  const port = Number(url.port) || (url.protocol === "mongodb:" ? 27017 : 5672);
  let open = new Set<Deno.Conn>();
  let down = false;
  /** Of each connection, what it waits for before it passes anything on. */
  const gates: { opens?: PromiseWithResolvers<void> }[] = [];
  let frozen = false;
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  url.host = `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;

  (async () => {
    for await (const near of listener) {
      if (down) near.close();
      else relay(near);
    }
  })();
  async function relay(near: Deno.Conn) {
    open.add(near);
    const gate: typeof gates[number] = frozen ? { opens: Promise.withResolvers() } : {};
    gates.push(gate);
    try {
      const far = await Deno.connect({ hostname, port });
      open.add(far);
      const pass = () =>
        new TransformStream<Uint8Array, Uint8Array>({
          async transform(chunk, out) {
            await gate.opens?.promise;
            out.enqueue(chunk);
          },
        });
      const ends = [
        near.readable.pipeThrough(pass()).pipeThrough(passage()).pipeTo(far.writable),
        far.readable.pipeThrough(pass()).pipeTo(near.writable),
      ];
      await Promise.allSettled(ends);
    } catch {
      // The server is away: the client sees a closed connection.
      near.close();
    }
  }
  function cut(mode?: "down") {
    down = mode === "down";
    for (const end of open) {
      try {
        end.close();
      } catch {
        // Closed by its peer.
      }
    }
    open = new Set();
  }
  return {
    url: url.href,
    cut,
    plug() {
      down = false;
    },
    freeze(which) {
      for (const gate of which === "last" ? gates.slice(-1) : gates) {
        gate.opens ??= Promise.withResolvers();
      }
      frozen = !which;
    },
    thaw() {
      frozen = false;
      for (const gate of gates) {
        gate.opens?.resolve();
        delete gate.opens;
      }
    },
    // deno-lint-ignore require-await
    async [Symbol.asyncDispose]() {
      cut("down");
      listener.close();
    },
  };
}

/** A tool that runs as a process of its own. */
export interface Running extends AsyncDisposable {
  readonly pid: number;
  /** Resolves when it has ended. */
  readonly status: Promise<Deno.CommandStatus>;
  /** What it has written so far. */
  readonly output: { stdout: string; stderr: string };
  /** Waits until stdout or stderr has a match. */
  seen(pattern: RegExp): Promise<RegExpExecArray>;
  /** Sends a signal. */
  kill(signal: Deno.Signal): void;
  /** Waits for the end and returns the exit code, and the signal when one ended it. */
  ended(): Promise<{ code: number; signal: Deno.Signal | null; stdout: string; stderr: string }>;
  /** Its standard input, to write to in parts. */
  openInput(): WritableStreamDefaultWriter<Uint8Array>;
  /** Writes to its standard input and closes it. */
  input(body: Uint8Array | string): Promise<void>;
  /** Closes the reading end of its stdout. */
  closeStdout(): Promise<void>;
}

/**
 * Starts a tool as `deno task` would, with the permissions of its task, but as a process whose pid is the tool's own.
 *
 * @param folder the tool's folder, such as `consumers/echo`
 * @param task the task's name
 * @param args further arguments
 * @param env variables on top of the test's own
 */
export function startTool(
  folder: string,
  task: string,
  args: string[],
  env: Record<string, string> = {},
): Running {
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${root}${folder}/deno.json`));
  // What the task's shell would fill in is the path of this very Deno.
  const command = (tasks[task] as string).replace(/\$\(deno eval -p '[^']*'\)/, Deno.execPath());
  const [deno, ...words] = command.split(" ");
  assert.equal(deno, "deno");
  return start([...words, ...args], { cwd: root + folder, env });
}

/** Starts a process: Deno, unless another command is named. */
export function start(
  args: string[],
  { command = Deno.execPath(), cwd = root, env = {} }: {
    command?: string;
    cwd?: string;
    env?: Record<string, string>;
  } = {},
): Running {
  const child = new Deno.Command(command, {
    args,
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = { stdout: "", stderr: "" };
  let news = Promise.withResolvers<void>();
  const stdout = child.stdout.getReader();
  const stderr = child.stderr.getReader();
  const reading = Promise.all([collect(stdout, "stdout"), collect(stderr, "stderr")]);
  let over = false;
  const status = child.status.then(async (status) => {
    await reading;
    over = true;
    news.resolve();
    return status;
  });
  async function collect(
    reader: ReadableStreamDefaultReader<Uint8Array>,
    name: "stdout" | "stderr",
  ) {
    const decoder = new TextDecoder();
    while (true) {
      const { value, done } = await reader.read();
      if (done) return;
      output[name] += decoder.decode(value, { stream: true });
      news.resolve();
      news = Promise.withResolvers();
    }
  }
  const stdin = child.stdin.getWriter();
  let stdinOpen = true;
  async function closeInput() {
    if (stdinOpen) await stdin.close().catch(() => {}); // its reader may have gone
    stdinOpen = false;
  }
  return {
    pid: child.pid,
    status,
    output,
    async seen(pattern) {
      const end = Date.now() + 30_000;
      while (true) {
        const match = pattern.exec(output.stdout) ?? pattern.exec(output.stderr);
        if (match) return match;
        if (over || Date.now() > end) {
          assert.fail(`${pattern} did not appear in:\n${output.stdout}\n${output.stderr}`);
        }
        const tick = Promise.withResolvers<void>();
        const timer = setTimeout(tick.resolve, 1000);
        await Promise.race([news.promise, status, tick.promise]);
        clearTimeout(timer);
      }
    },
    kill: (signal) => child.kill(signal),
    async ended() {
      await closeInput();
      const limit = setTimeout(() => child.kill("SIGKILL"), 60_000);
      const { code, signal } = await status;
      clearTimeout(limit);
      return { code, signal, ...output };
    },
    openInput: () => stdin,
    async input(body) {
      await stdin.write(typeof body === "string" ? new TextEncoder().encode(body) : body);
      await closeInput();
    },
    closeStdout: () => stdout.cancel(),
    async [Symbol.asyncDispose]() {
      await closeInput();
      try {
        child.kill("SIGKILL");
      } catch {
        // Ended already.
      }
      await status;
    },
  };
}
