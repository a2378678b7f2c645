/**
 * What a replay reads from: a file of saved messages, or a collection of stored ones.
 * @module
 */
import { createHash } from "node:crypto";
import type { SavedMessage } from "@event-sink/lib";

/** A message as it was found. */
export interface Found {
  /** Where, for people: `line 7`. */
  name: string;
  message: SavedMessage;
  /** Makes the id of a message that has none: the same at each attempt. */
  id: () => string;
  /** The place behind it. */
  mark: Mark;
  /** How much of everything lies before that place, from 0 to 1; undefined when nobody knows. */
  share?: number;
}

/** A place in a source, which is as much as the source makes of it. */
export type Mark = Record<string, unknown>;

/** Where messages come from. Dispose it to close it. */
export interface Source extends AsyncDisposable {
  /** Its name for people. */
  name: string;
  /**
   * What is in it, in its order, from a place that was recorded, or the beginning; ends when `stop` aborts.
   *
   * @throws {Unusable} at what is no message
   */
  read(from: Mark | undefined, stop: AbortSignal): AsyncIterable<Found>;
  /** What to keep of a place for another run. */
  record(mark: Mark): Promise<Mark>;
  /** Throws when a place that was recorded is not in here. */
  check(record: Mark): Promise<void>;
}

/** Something that cannot be replayed; the message says where and why. */
export class Unusable extends Error {}

/** An id that the same parts always lead to: a UUID of version 8, made of their SHA-256 (https://www.rfc-editor.org/rfc/rfc9562#section-5.8). */
export function stableId(...parts: (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part).update("\0");
  const hex = hash.digest("hex");
  const variant = "89ab"[parseInt(hex[16]!, 16) & 3];
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${
    hex.slice(17, 20)
  }-${hex.slice(20, 32)}`;
}
