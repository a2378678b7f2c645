/**
 * Whether a tool does its work. What it consists of (consumers, publishers, connections) says so itself, when it is asked.
 * @module
 */
import { within } from "./wait.ts";

/** A part of a tool. */
export interface Part {
  /** What it is, for people: `consumer of 'hello'`. */
  readonly name: string;
  /** Whether it is what the tool is there for: without such a part the tool is still starting. */
  readonly works?: boolean;
  /** Why it cannot do its work now, as far as it is known. */
  trouble(): string | undefined;
  /** Asks those that it depends on, such as a server, whether they answer; throws the reason when they do not. */
  probe?(): Promise<unknown>;
  /** For how many seconds the oldest of what it has in hand has been there (0). */
  oldest?(): number;
}

/** Longest time that somebody else may take to answer a probe, in milliseconds. */
const PROBE_LIMIT = 5000;

/** Milliseconds for which an answer holds, so that those who ask often cost little. */
const ANSWER_HOLDS = 1000;

const parts = new Map<Part, () => Promise<string | undefined>>();

/** Has a part asked how it does, until it is disposed. */
export function watch(part: Part): Disposable {
  let answer: Promise<string | undefined>;
  /** Until when it holds: those who ask while it is waited for get the same, so that a server that hangs is not asked again and again. */
  let holds = -Infinity;
  parts.set(part, () => {
    if (performance.now() > holds) {
      holds = Infinity;
      answer = examine(part).finally(() => holds = performance.now() + ANSWER_HOLDS);
    }
    return answer;
  });
  return { [Symbol.dispose]: () => void parts.delete(part) };
}

async function examine({ name, trouble, probe }: Part): Promise<string | undefined> {
  const known = trouble();
  if (known !== undefined) return known;
  try {
    const answered = await within(PROBE_LIMIT, Promise.resolve(probe?.()).then(() => true));
    return answered ? undefined : `${name}: no answer within ${PROBE_LIMIT / 1000} s`;
  } catch (error) {
    return trouble() ?? `${name}: ${(error as Error).message}`;
  }
}

/** How a tool does. */
export interface Health {
  /** Reasons why it does not do its work now; it may again, by itself. */
  waiting: string[];
  /** Reasons why it will not go on by itself. */
  stuck: string[];
}

/** What holds for the whole process. */
const settings: { limit: number; signal?: AbortSignal } = { limit: Infinity };

/**
 * Says when a tool is well.
 *
 * @param limit seconds that a message may be in hand
 * @param signal once it has aborted the tool takes no more work
 */
export function setHealth(limit: number, signal: AbortSignal): void {
  settings.limit = limit;
  settings.signal = signal;
}

/**
 * Asks all parts; takes {@linkcode PROBE_LIMIT} at most. What is in hand for too long counts only while all that the tool depends on is well: a message
 * that waits for a store that is away does not make the tool one that has to be started anew.
 */
export async function health(): Promise<Health> {
  const asked = [...parts];
  const answers = await Promise.all(asked.map(([, ask]) => ask()));
  const waiting = [...new Set(answers.filter((answer) => answer !== undefined))];
  const dependsOnOthers = asked.some(([{ works }], index) => !works && answers[index]);
  if (!asked.some(([{ works }]) => works)) waiting.push("it is still starting");
  if (settings.signal?.aborted) waiting.push("it is stopping");
  if (dependsOnOthers || settings.signal?.aborted) return { waiting, stuck: [] };
  const stuck = asked.flatMap(([{ name, oldest }]) => {
    const seconds = oldest?.() ?? 0;
    const { limit } = settings;
    return seconds > limit
      ? [`${name}: in hand for ${Math.floor(seconds)} s, longer than ${limit} s`]
      : [];
  });
  return { waiting, stuck };
}
