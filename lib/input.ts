/**
 * What `send` sends: its words as one message, or every line of a file.
 * @module
 */
import { type Flags, numberFlag, textFlag, UsageError } from "./flags.ts";
import type { Outgoing, Publisher } from "./publish.ts";
import { textOf } from "./text.ts";
import { pause, type Tool } from "./tool.ts";
import { amqpUrlFlag } from "./url.ts";

/** The flags of every `send`. */
export const sendFlags = {
  amqpUrl: amqpUrlFlag,
  file: textFlag("send every line of this file as a message, - for standard input", {
    value: "FILE",
    short: "f",
    default: "",
  }),
  rate: numberFlag("messages per second at most, 0 for no limit", { default: 0 }),
  timeout: numberFlag("seconds to wait for the broker, and for each confirm", {
    default: 10,
    min: 0.1,
    max: 86_400,
  }),
} satisfies Flags;

/**
 * Sends the tool's words as one message (`Hello World!` when there are none), or with `--file` one message per line, and reports
 * what was sent. Line ends are not part of a message. Memory stays flat whatever the file's size.
 *
 * @throws when not everything was sent, naming the lines that were not
 */
export async function sendInput(
  tool: Pick<Tool<typeof sendFlags>, "flags" | "words" | "signal" | "print">,
  publisher: Publisher,
  target: Pick<Outgoing, "exchange" | "routingKey">,
): Promise<void> {
  const { flags, words, print } = tool;
  if (flags.file === "") {
    const text = words.join(" ") || "Hello World!";
    await publisher.publish(outgoing(target, new TextEncoder().encode(text)));
    return await print(` [x] Sent '${text}'`);
  }
  if (words.length > 0) {
    throw new UsageError("--file and words: only one of them can be the message");
  }
  await sendLines(tool, publisher, target);
}

async function sendLines(
  { flags, signal, print }: Pick<Tool<typeof sendFlags>, "flags" | "signal" | "print">,
  publisher: Publisher,
  target: Pick<Outgoing, "exchange" | "routingKey">,
) {
  const input = await openInput(flags.file);
  const bar = await progressBar(input.size);
  const started = performance.now();
  let read = 0;
  let sent = 0;
  let sentBytes = 0;
  let failure: Error | undefined;
  const failed: number[] = [];
  const unsettled = new Set<Promise<void>>();
  try {
    for await (const line of lines(input.stream)) {
      if (signal.aborted || failure) break;
      const number = ++read;
      await publisher.ready();
      const settled = publisher.publish(outgoing(target, line)).then(() => {
        sent++;
        sentBytes += line.length + 1;
      }, (error) => {
        failure ??= error;
        failed.push(number);
      }).finally(() => unsettled.delete(settled));
      unsettled.add(settled);
      bar?.update(sentBytes, { sent });
      if (flags.rate > 0) {
        const due = started + read * 1000 / flags.rate - performance.now();
        if (due > 1) await pause(due, signal).catch(() => {}); // the loop's next turn sees the signal
      }
    }
    await Promise.all(unsettled);
  } finally {
    bar?.stop();
  }
  const seconds = (performance.now() - started) / 1000;
  await print(
    ` [x] Sent ${count(sent)} in ${seconds.toFixed(1)} s (${Math.round(sent / seconds)}/s)`,
  );
  if (failure) {
    throw new Error(
      `${failure.message}. Not sent: ${ranges(failed)}, and everything after line ${read}; ` +
        `send the rest with: tail -n +${read + 1}`,
    );
  }
  if (signal.aborted) {
    await print(` [x] Stopped after line ${read}; send the rest with: tail -n +${read + 1}`);
  }
}

function outgoing(target: Pick<Outgoing, "exchange" | "routingKey">, body: Uint8Array): Outgoing {
  return { ...target, body, properties: { contentType: contentType(body) } };
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

async function openInput(
  path: string,
): Promise<{ stream: ReadableStream<Uint8Array>; size?: number }> {
  if (path === "-") return { stream: Deno.stdin.readable };
  try {
    const file = await Deno.open(path);
    const info = await file.stat();
    if (info.isDirectory) throw new Error("it is a directory");
    return { stream: file.readable, size: info.isFile ? info.size : undefined };
  } catch (error) {
    throw new UsageError(`Cannot read '${path}': ${(error as Error).message}`);
  }
}

/**
 * Splits bytes at line feeds; a carriage return before one belongs to it.
 * Not a text decoder: a line that is not UTF-8 is sent as it is.
 */
export async function* lines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  for await (const chunk of stream) {
    let start = 0;
    for (let end; (end = chunk.indexOf(10, start)) !== -1; start = end + 1) {
      parts.push(chunk.subarray(start, end));
      yield line(parts);
      parts = [];
    }
    if (start < chunk.length) parts.push(chunk.subarray(start));
  }
  if (parts.length > 0) yield line(parts);
}

function line(parts: Uint8Array[]): Uint8Array {
  let whole = parts[0]!;
  if (parts.length > 1) {
    whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let offset = 0;
    for (const part of parts) {
      whole.set(part, offset);
      offset += part.length;
    }
  }
  return whole.at(-1) === 13 ? whole.subarray(0, -1) : whole;
}

async function progressBar(size: number | undefined) {
  if (!Deno.stderr.isTerminal() || !size) return undefined;
  const { default: progress } = await import("cli-progress");
  const format = " {bar} {percentage}% | {sent} sent | {eta_formatted} left";
  const bar = new progress.SingleBar(
    { format, clearOnComplete: true },
    progress.Presets.shades_classic,
  );
  bar.start(size, 0, { sent: 0 });
  return bar;
}

function count(messages: number): string {
  return messages === 1 ? "1 message" : `${messages} messages`;
}

/** `[1, 2, 3, 7]` to `lines 1 to 3, 7`. */
export function ranges(numbers: number[]): string {
  const runs: [number, number][] = [];
  for (const number of numbers.toSorted((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else runs.push([number, number]);
  }
  const named = runs.slice(0, 20).map(([from, to]) => from === to ? `${from}` : `${from} to ${to}`);
  const more = runs.length > 20 ? ` and ${runs.length - 20} more ranges` : "";
  return `${numbers.length === 1 ? "line" : "lines"} ${named.join(", ")}${more}`;
}
