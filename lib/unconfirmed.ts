/**
 * What was published and is not confirmed yet.
 * @module
 */
import type { Buffer } from "node:buffer";
import type { Options } from "amqplib";

/** A message that waits for its confirm. */
export interface Unconfirmed {
  exchange: string;
  routingKey: string;
  content: Buffer;
  options: Options.Publish;
  /** When it went out last, in milliseconds since the epoch. */
  sent: number;
  /** Whether the broker has returned it. */
  unroutable: boolean;
  /** How many channels the broker has closed while it was unconfirmed on them. */
  channelErrors: number;
  /** Whether it goes out again until the broker takes it. */
  patient: boolean;
  /** How often the broker has refused it. */
  refusals: number;
  /** Since when it is refused, in milliseconds since the epoch. */
  refusedSince?: number;
  /** Publishes it again, after the broker has refused it. */
  again?: ReturnType<typeof setTimeout>;
  resolve: () => void;
  reject: (error: Error) => void;
}

/** Bounds: enough to hide the round trip, small enough to keep memory flat. */
const MOST_MESSAGES = 1000;
const MOST_BYTES = 16 * 2 ** 20;

/** The messages that wait, in the order in which they were published. */
export interface Window {
  readonly messages: ReadonlySet<Unconfirmed>;
  add(message: Unconfirmed): void;
  /** Confirms a message, or fails it. */
  settle(message: Unconfirmed, error?: Error): void;
  /** Fails all of them. */
  fail(error: Error): void;
  /** Undefined when there is room for another message, else a promise of room. */
  room(): Promise<void> | undefined;
  /** Resolves when none is left. */
  empty(): Promise<void>;
}

/** Makes an empty window. */
export function createWindow(): Window {
  const messages = new Set<Unconfirmed>();
  let bytes = 0;
  let room: PromiseWithResolvers<void> | undefined;
  let empty: PromiseWithResolvers<void> | undefined;
  const hasRoom = () => messages.size < MOST_MESSAGES && bytes < MOST_BYTES;

  function settle(message: Unconfirmed, error?: Error) {
    if (!messages.delete(message)) return;
    bytes -= message.content.length;
    if (error) message.reject(error);
    else message.resolve();
    if (room && hasRoom()) {
      room.resolve();
      room = undefined;
    }
    if (empty && messages.size === 0) {
      empty.resolve();
      empty = undefined;
    }
  }
  return {
    messages,
    add(message) {
      messages.add(message);
      bytes += message.content.length;
    },
    settle,
    fail(error) {
      for (const message of [...messages]) settle(message, error);
    },
    room: () => hasRoom() ? undefined : (room ??= Promise.withResolvers()).promise,
    empty: () =>
      messages.size === 0 ? Promise.resolve() : (empty ??= Promise.withResolvers()).promise,
  };
}
