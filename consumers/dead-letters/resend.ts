/**
 * Sending dead letters on: each is removed when the broker has confirmed it where it went.
 * @module
 */
import { counted, type Publisher, type Reader } from "@event-sink/lib";
import type { ConsumeMessage, Options } from "amqplib";

/** A message to publish in the place of a letter. */
export interface Replacement {
  /** The queue that it goes to. */
  target: string;
  body: Uint8Array;
  properties: Options.Publish;
}

/** Sends the letters of one queue on. */
export interface Resender {
  /** Publishes, and removes the letter; rejects when it was not confirmed, and the letter stays. */
  send(letter: ConsumeMessage, replacement: Replacement): Promise<void>;
  /** Says how many went where. */
  told(print: (line: string) => Promise<void>): Promise<void>;
}

/** Makes a sender for the letters that `queue` reads. */
export function createResender(publisher: Publisher, queue: Reader): Resender {
  const sent = new Map<string, number>();
  return {
    async send(letter, { target, body, properties }) {
      if (target === queue.name) throw new Error("it would come back to this very queue");
      await publisher.publish({ routingKey: target, body, properties });
      sent.set(target, (sent.get(target) ?? 0) + 1);
      queue.remove(letter);
    },
    async told(print) {
      for (const [target, count] of sent) {
        await print(`Replayed ${counted(count)} from ${queue.name} to ${target}`);
      }
    },
  };
}
