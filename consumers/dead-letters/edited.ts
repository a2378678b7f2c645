/**
 * `replay --from -`: the lines of `show --json`, edited, in the place of the letters that they were.
 * @module
 */
import {
  aborted,
  type Broker,
  counted,
  createPublisher,
  type Flag,
  lines,
  type Log,
  openQueue,
  parseSaved,
  type Publisher,
  type Reader,
  type SavedMessage,
  textFlag,
  textOf,
} from "@event-sink/lib";
import type { ConsumeMessage } from "amqplib";
import { digestOf, letterOf, replayed } from "./letter.ts";
import { createResender } from "./resend.ts";

/** `--from`: standard input alone, as the task may read no files. */
export const fromFlag: Flag<string> = textFlag(
  "replay the lines of show --json that come, perhaps edited, by standard input, in place of their letters",
  {
    value: "-",
    default: "",
    parse(text) {
      if (text !== "-") throw new Error(`expected -, standard input, not '${text}'; try: < FILE`);
      return text;
    },
  },
);

/** Longest input: all of it is read before the first letter, as `show` holds the letters until its end. */
const MOST_BYTES = 256 * 2 ** 20;

/** A line that can be replayed. */
interface Edit {
  line: number;
  queue: string;
  /** Which letter of the queue it is, or which ones that do not differ. */
  key: string;
  /** The same for people. */
  name: string;
  saved: SavedMessage;
}

/** What it works with. */
export interface EditedOptions {
  broker: Broker;
  signal: AbortSignal;
  log: Log;
  print: (line: string) => Promise<void>;
  /** The only queue whose lines are replayed; `""` for any. */
  queue: string;
  /** The queue that all go to; `""` for the one that each came from. */
  to: string;
  /** Milliseconds to wait for each answer of the broker. */
  timeout: number;
}

/**
 * Publishes each line's message, and removes its letter: the one in its queue with its digest. What has no line stays; of letters that do not differ
 * each line stands for one.
 *
 * @throws when a line was not replayed; the log says why, and the others are done
 */
export async function replayEdited(
  stdin: AsyncIterable<Uint8Array>,
  options: EditedOptions,
): Promise<void> {
  const { broker, signal, log, print, timeout } = options;
  let bad = 0;
  function leave(line: number, why: string) {
    bad++;
    log.warn(`Line ${line} was not replayed: ${why}`);
  }
  const all = await Promise.race([editsIn(stdin, options.queue, leave), aborted(signal)]);
  if (!Array.isArray(all) || signal.aborted) {
    return await print("Stopped; all messages are where they were");
  }
  await using publisher = await createPublisher(broker, { timeout });
  for (const [name, its] of Map.groupBy(all, ({ queue }) => queue)) {
    if (signal.aborted) break;
    await using queue = await openQueue(broker, name, timeout);
    if (queue) await replaceLetters(queue, its, { ...options, publisher, leave });
    else for (const { line } of its) leave(line, `there is no queue '${name}'`);
  }
  if (signal.aborted) return await print("Stopped; the other messages are where they were");
  if (bad > 0) throw new Error(`${counted(bad, "line")} not replayed, as was said`);
  if (all.length === 0) await print("There is nothing to replay");
}

type Leave = (line: number, why: string) => void;

async function replaceLetters(
  queue: Reader,
  edits: Edit[],
  { publisher, leave, ...options }: EditedOptions & { publisher: Publisher; leave: Leave },
): Promise<void> {
  const { signal, to, print } = options;
  const resender = createResender(publisher, queue);
  const found = await lettersOf(queue, edits, signal);

  async function replace(letter: ConsumeMessage, saved: SavedMessage) {
    const target = to || letterOf(letter).originalQueue;
    if (!target) throw new Error("it does not say which queue it came from; try: --to QUEUE");
    const properties = editedProperties(letter, saved, target);
    await resender.send(letter, { target, body: saved.body, properties });
  }
  for (const [key, its] of Map.groupBy(edits, ({ key }) => key)) {
    const letters = found.get(key) ?? [];
    const { name } = its[0]!;
    const why = letters.length === 0
      ? `${name} is not in '${queue.name}' (any more)`
      : `${its.length} lines are of ${name}`;
    for (const [n, { line, saved }] of its.entries()) {
      if (signal.aborted) break;
      if (letters.length < its.length) leave(line, why);
      // One after the other: what the broker closes the channel for does no harm to others.
      else await replace(letters[n]!, saved).catch((error) => leave(line, error.message));
    }
  }
  await resender.told(print);
}

async function editsIn(
  stdin: AsyncIterable<Uint8Array>,
  queue: string,
  leave: Leave,
): Promise<Edit[]> {
  const edits: Edit[] = [];
  let line = 0;
  for await (const bytes of lines(bounded(stdin))) {
    line++;
    const text = textOf(bytes);
    if (text?.trim() === "") continue;
    try {
      if (text === undefined) throw new Error("it is not UTF-8");
      edits.push({ line, ...editOf(text, queue) });
    } catch (error) {
      leave(line, (error as Error).message);
    }
  }
  return edits;
}

async function* bounded(stdin: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let left = MOST_BYTES;
  for await (const chunk of stdin) {
    left -= chunk.length;
    if (left < 0) {
      const most = `${MOST_BYTES / 2 ** 20} MiB are the most`;
      throw new Error(`Cannot replay standard input: it is too long, ${most}; replay it in parts`);
    }
    yield chunk;
  }
}

function editOf(text: string, only: string): Omit<Edit, "line"> {
  const saved = parseSaved(text);
  const { queue, digest, id } = JSON.parse(text);
  if (typeof queue !== "string" || typeof digest !== "string") {
    throw new Error("it has no 'queue' and 'digest', as show --json writes them");
  }
  if (only !== "" && queue !== only) throw new Error(`it is of '${queue}', not of --queue`);
  const name = id === undefined ? "the message" : `message '${id}'`;
  return { queue, key: keyOf(digest, id), name, saved };
}

/** With the id: a line whose id was edited is of no letter. */
function keyOf(digest: string, id: unknown): string {
  return `${digest} ${id ?? ""}`;
}

/** The letters that the edits are about, by their key, without their bodies. */
async function lettersOf(
  queue: Reader,
  edits: Edit[],
  signal: AbortSignal,
): Promise<Map<string, ConsumeMessage[]>> {
  const found = new Map<string, ConsumeMessage[]>(edits.map(({ key }) => [key, []]));
  for await (const message of queue.read(signal)) {
    const content = new Uint8Array() as ConsumeMessage["content"];
    found.get(keyOf(digestOf(message), message.properties.messageId))?.push({
      ...message,
      content,
    });
  }
  return found;
}

/** The edited properties as a replay has them: for a first attempt, and without what holds for one publication only, unless it was edited. */
function editedProperties(letter: ConsumeMessage, { properties }: SavedMessage, target: string) {
  const edited = letterOf({ properties });
  const original = letterOf(letter);
  const { expiration, userId } = properties;
  return {
    ...replayed(properties, {
      originalExchange: edited.originalExchange ?? original.originalExchange,
      originalRoutingKey: edited.originalRoutingKey ?? original.originalRoutingKey,
    }, target),
    ...expiration !== letter.properties.expiration && { expiration },
    ...userId !== letter.properties.userId && { userId },
  };
}
