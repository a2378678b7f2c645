/**
 * A bound on the bytes that all connections together hold: messages that have not come whole, and answers that their
 * clients have not read.
 * @module
 */

/** Counts what is held. */
export class HeldBytes {
  #bytes = 0;

  /** @param limit most bytes */
  constructor(private readonly limit: number) {}

  /** Hold more; false when that would be too much, and nothing is held then. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.limit) return false;
    this.#bytes += bytes;
    return true;
  }

  /** Hold less. */
  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}
