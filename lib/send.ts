/**
 * What every `send` does: its words as one message, or every line of a file.
 * @module
 */
import { type Channel, connectBroker } from "./broker.ts";
import { type BrokerFlags, brokerFlags } from "./declare.ts";
import { type Flag, type Flags, numberFlag, textFlag, UsageError } from "./flags.ts";
import { lines, ranges } from "./lines.ts";
import { duration, startProgress } from "./progress.ts";
import { createPublisher, type Outgoing, type Publisher } from "./publish.ts";
import { type Check, schemaFlag, schemaOf } from "./schema.ts";
import { counted, printable, textOf } from "./text.ts";
import { runTool, type Tool } from "./tool.ts";
import { aborted, pause } from "./wait.ts";

/** The flags of every `send`. */
export type SendFlags = BrokerFlags & {
  /** File of which every line is a message. */
  file: Flag<string>;
  /** File for the lines that were not sent. */
  unsent: Flag<string>;
  /** Messages per second at most. */
  rate: Flag<number>;
  /** File of the JSON Schema that bodies must conform to. */
  schema: Flag<string>;
  /** Seconds to wait for the broker. */
  timeout: Flag<number>;
};

/** `--timeout` of tools that do not outlive the broker: seconds. */
export const timeoutFlag: Flag<number> = numberFlag(
  "seconds to wait for the broker: for a connection, after each outage, for each confirm",
  { default: 10, min: 0.1, max: 86_400 },
);

const sendFlags: SendFlags = {
  ...brokerFlags,
  file: textFlag("send every line of this file as a message, - for standard input", {
    value: "FILE",
    short: "f",
    default: "",
  }),
  unsent: textFlag("with --file: write the lines that were not sent to this file", {
    value: "FILE",
    default: "",
  }),
  rate: numberFlag("messages per second at most, 0 for no limit", { default: 0 }),
  schema: schemaFlag("not sent"),
  timeout: timeoutFlag,
};

/** A message without its destination. */
export type Content = Pick<Outgoing, "body" | "properties">;

/** What a `send` says of itself. */
export interface SendUsage<F extends Flags> {
  /** What it does, for `--help`. */
  about: string;
  /** Flags besides those that every `send` has. */
  flags?: F;
  /** Positional arguments in commander's notation (`[words...]`). */
  arguments?: string;
  /** Declares the exchange or queue that the messages go to; runs again on every new channel. */
  declare: (channel: Channel) => Promise<unknown>;
}

/**
 * A tool that sends its words, joined by a space, as one message (`Hello World!` when there are none), or with `--file` one message per
 * line, line ends excluded, and reports what was sent. Memory stays flat whatever the file's size.
 *
 * Exit code 0 means that the broker has confirmed all of it; otherwise it says what was not sent.
 *
 * @param publish publishes one message to where it belongs; `await`s its confirm
 */
export function send<F extends Flags = Record<never, never>>(
  meta: ImportMeta,
  usage: SendUsage<F>,
  publish: (publisher: Publisher, content: Content, tool: Tool<F & SendFlags>) => Promise<void>,
): Promise<void> {
  const flags = { ...sendFlags, ...usage.flags } as F & SendFlags;
  return runTool(meta, { arguments: "[words...]", ...usage, flags }, async (tool) => {
    const own = tool as unknown as Tool<SendFlags>;
    const { signal, log, words, flags: { amqpUrl, queueType, file, timeout: seconds } } = own;
    const timeout = seconds * 1000;
    if (file !== "" && words.length > 0) {
      throw new UsageError("--file and words: only one of them can be the message");
    }
    if (file !== "" && await isSameFile(file, own.flags.unsent)) {
      throw new UsageError(`--unsent: '${file}' is the file to send, and would be overwritten`);
    }
    const check = await schemaOf(own.flags.schema, log);
    try {
      await using broker = await connectBroker({ amqpUrl, queueType, signal, log, timeout });
      await using publisher = await createPublisher(broker, {
        declare: usage.declare,
        timeout,
        signal,
      });
      const one = (body: Uint8Array) =>
        publish(publisher, { body, properties: { contentType: contentType(body) } }, tool);
      if (file === "") await sendWords(tool, check, one);
      else await sendLines(own, { check, room: () => publisher.ready(), publish: one });
    } catch (error) {
      if (!signal.aborted || error !== signal.reason) throw error;
      throw new Error("Not sent: stopped before the broker has confirmed it");
    }
  });
}

type Publish = (body: Uint8Array) => Promise<void>;

async function sendWords(
  { words, print }: Pick<Tool<Flags>, "words" | "print">,
  check: Check,
  publish: Publish,
) {
  const text = words.length === 0 ? "Hello World!" : words.join(" ");
  const body = new TextEncoder().encode(text);
  try {
    check(body);
  } catch (error) {
    throw new Error(`Not sent: it ${(error as Error).message}`);
  }
  await publish(body);
  await print(` [x] Sent '${printable(text)}'`);
}

async function sendLines(
  { flags, signal, print }: Tool<SendFlags>,
  { check, room, publish }: {
    check: Check;
    room: () => Promise<void> | undefined;
    publish: Publish;
  },
) {
  const failing = new AbortController();
  const stop = AbortSignal.any([signal, failing.signal]);
  const input = await openInput(flags.file, stop);
  const unsent = flags.unsent === "" ? undefined : await openOutput(flags.unsent);
  const progress = input.size ? startProgress() : undefined;
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  let read = 0;
  let sent = 0;
  let sentBytes = 0;
  let failure: Error | undefined;
  const failed = new Map<number, Uint8Array>();
  const unsettled = new Set<Promise<void>>();

  function show() {
    const share = sentBytes / input.size!;
    const left = share > 0 ? `, ${duration(seconds() * (1 - share) / share)} left` : "";
    progress!.show(share, `${sent} sent${left}`);
  }
  try {
    for await (const line of input.lines) {
      const number = ++read;
      try {
        check(line);
      } catch (error) {
        failure ??= new Error(`Line ${number} ${(error as Error).message}`);
        failed.set(number, line);
        break;
      }
      await room();
      const settled = publish(line).then(() => {
        sent++;
        sentBytes += line.length + 1;
      }, (error) => {
        failure ??= error;
        failed.set(number, line);
        failing.abort();
      }).finally(() => unsettled.delete(settled));
      unsettled.add(settled);
      if (progress) show();
      if (flags.rate > 0) {
        const due = started + read * 1000 / flags.rate - performance.now();
        if (due > 1) await pause(due, stop).catch(() => {}); // the signal ends the loop
      }
    }
  } catch (error) {
    failure ??= new Error(`Cannot read '${flags.file}': ${(error as Error).message}`);
  } finally {
    await Promise.all(unsettled);
    progress?.end();
  }
  await print(
    ` [x] Sent ${counted(sent)} in ${seconds().toFixed(1)} s (${Math.round(sent / seconds())}/s)`,
  );
  if (failure || signal.aborted) {
    const why = failure && failure !== signal.reason ? failure.message : "Stopped";
    throw new Error(`${why}. ${await report()}`);
  }

  /** Says what was not sent, and how to send it. */
  async function report(): Promise<string> {
    const numbers = [...failed.keys()].sort((a, b) => a - b);
    const missing = numbers.length > 0 ? `${ranges(numbers)}, and ` : "";
    const text = `Not sent: ${missing}what comes after line ${read}`;
    if (!unsent) {
      const first = numbers[0] ?? read + 1;
      const twice = numbers.length > 0
        ? " (those that were sent come twice; --unsent FILE avoids that)"
        : "";
      return `${text}; send it with: tail -n +${first}${twice}`;
    }
    for (const number of numbers) await unsent.write(withEnd(failed.get(number)!));
    for await (const line of input.rest()) await unsent.write(withEnd(line));
    await unsent.close(); // only now is all of it written
    return flags.file === "-"
      ? `${text}; what was read of it is in '${flags.unsent}', for --file`
      : `${text}; it is in '${flags.unsent}', for --file`;
  }
}

/** An event is usually JSON, and consumers may go by the content type. */
function contentType(body: Uint8Array): string {
  const text = textOf(body);
  if (text === undefined) return "application/octet-stream";
  if (!/^\s*[{[]/.test(text)) return "text/plain";
  try {
    JSON.parse(text);
    return "application/json";
  } catch {
    return "text/plain";
  }
}

interface Input {
  /** Ends when the signal aborts. */
  lines: AsyncGenerator<Uint8Array>;
  /** The lines behind those; none of a standard input, which may never end. */
  rest(): AsyncIterable<Uint8Array>;
  size?: number;
}

/** Tasks of senders may read any file, since the task runner does not know which one `--file` will name; `--file - < FILE` works without. */
async function openInput(path: string, signal: AbortSignal): Promise<Input> {
  if (path === "-") {
    return { lines: untilAborted(signal, lines(Deno.stdin.readable)).lines(), async *rest() {} };
  }
  try {
    const file = await Deno.open(path);
    const info = await file.stat();
    if (info.isDirectory) throw new Error("it is a directory");
    const all = untilAborted(signal, lines(file.readable));
    return { lines: all.lines(), rest: all.rest, size: info.isFile ? info.size : undefined };
  } catch (error) {
    throw new UsageError(`Cannot read '${path}': ${(error as Error).message}`);
  }
}

/** Not `for await`, which would end `all` with this; a line that is on its way when the signal aborts is the first one that is left. */
function untilAborted(signal: AbortSignal, all: AsyncGenerator<Uint8Array>) {
  const stopped = aborted(signal).then(() => undefined);
  let next: Promise<IteratorResult<Uint8Array>> | undefined;
  return {
    async *lines() {
      while (!signal.aborted) {
        next ??= all.next();
        const result = await Promise.race([next, stopped]);
        if (!result) return;
        next = undefined;
        if (result.done) return;
        yield result.value;
      }
    },
    async *rest() {
      const result = await next;
      if (result && !result.done) yield result.value;
      yield* all;
    },
  };
}

/** Whether both paths lead to one file; false when one of them leads to none. */
async function isSameFile(path: string, other: string): Promise<boolean> {
  try {
    return await Deno.realPath(path) === await Deno.realPath(other);
  } catch {
    return false;
  }
}

async function openOutput(path: string): Promise<WritableStreamDefaultWriter<Uint8Array>> {
  try {
    const file = await Deno.open(path, { write: true, create: true, truncate: true });
    return file.writable.getWriter();
  } catch (error) {
    const elsewhere = error instanceof Deno.errors.NotCapable;
    const why = elsewhere
      ? "its task may write below its own folder only"
      : (error as Error).message;
    throw new UsageError(`Cannot write '${path}': ${why}`);
  }
}

function withEnd(line: Uint8Array): Uint8Array {
  const whole = new Uint8Array(line.length + 1);
  whole.set(line);
  whole[line.length] = 10;
  return whole;
}
