/**
 * Server-side cursors: results that a client fetches batch by batch.
 * @module
 */
import { CommandError } from "../errors.ts";
import { MAX_HELD } from "../limits.ts";

/** The server's default of a first batch, in documents. */
export const FIRST_BATCH = 101;
/** A batch ends before it would be larger than this many bytes. */
const MAX_BATCH_BYTES = 16 * 1024 * 1024;

/** Documents as bytes, one by one, on demand. */
export type Source = Iterator<Uint8Array, void>;

/** How a cursor is made. */
export interface CursorOptions {
  /** There is only the first batch. */
  single?: boolean;
  /** It is not closed when nobody uses it. */
  noTimeout?: boolean;
  /** Most documents, of all batches. */
  limit?: number;
  /** It goes on after its end. */
  tail?: Tail;
  /** Called after each batch: what can be read again need not be held. */
  rest?: () => void;
}

interface Cursor {
  id: bigint;
  ns: string;
  source: Source;
  /** Read from the source, but did not fit into the batch. */
  pending: Uint8Array | undefined;
  done: boolean;
  lastUsed: number;
  noTimeout: boolean;
  /** How many more there can be at most, when the query has a limit. */
  remaining: number;
  tail: Tail | undefined;
  rest: (() => void) | undefined;
  /** Bytes of the documents that it has in hand between two batches. */
  held: number;
}

/** What a tailable cursor follows: its source may yield again after it was done. */
export interface Tail {
  /** Wait for new documents, when there are none, rather than answer at once. */
  awaitData: boolean;
  /** Called when something was inserted. */
  listeners: Set<() => void>;
}

/** How long a tailable cursor waits for new documents when `getMore` does not say, in milliseconds. */
const AWAIT_DATA = 1000;

/** All open cursors. */
export class Cursors {
  #open = new Map<bigint, Cursor>();
  #waiting = new Set<() => void>();
  /** Bytes that the open cursors hold. */
  #held = 0;

  /**
   * @param timeout milliseconds after which an idle cursor is closed
   * @param limit most cursors open at a time
   */
  constructor(private readonly timeout: number, private readonly limit: number) {}

  /** How many are open. */
  get size(): number {
    return this.#open.size;
  }

  /**
   * Start a cursor and take its first batch.
   * @param size documents in the batch
   * @returns the batch, and the id to go on with, 0 when all is said
   */
  start(
    ns: string,
    source: Source,
    size: number,
    options: CursorOptions = {},
  ): { batch: Uint8Array[]; id: bigint } {
    const cursor: Cursor = {
      id: 0n,
      ns,
      source,
      pending: undefined,
      done: false,
      lastUsed: Date.now(),
      noTimeout: options.noTimeout ?? false,
      remaining: options.limit || Infinity,
      tail: options.tail,
      rest: options.rest,
      held: 0,
    };
    const batch = takeBatch(cursor, size);
    if (cursor.done || options.single) {
      source.return?.();
      return { batch, id: 0n };
    }
    if (this.#open.size >= this.limit || this.#held + cursor.held > MAX_HELD) {
      source.return?.();
      throw new CommandError(
        "ExceededMemoryLimit",
        `Cannot open another cursor: ${this.#open.size} are open`,
      );
    }
    this.#held += cursor.held;
    do {
      const random = crypto.getRandomValues(new BigUint64Array(1))[0]!;
      cursor.id = random & 0x7fffffffffffffffn;
    } while (cursor.id === 0n || this.#open.has(cursor.id));
    this.#open.set(cursor.id, cursor);
    return { batch, id: cursor.id };
  }

  /**
   * The next batch.
   * @throws CommandError CursorNotFound; Unauthorized when the cursor is another collection's
   */
  next(id: bigint, ns: string, size: number): { batch: Uint8Array[]; id: bigint } {
    const cursor = this.#checked(id, ns);
    let batch: Uint8Array[];
    const before = cursor.held;
    try {
      batch = takeBatch(cursor, size);
    } catch (error) {
      cursor.held = before;
      this.#remove(cursor);
      throw error;
    }
    this.#held += cursor.held - before;
    if (!cursor.done) return { batch, id };
    this.#remove(cursor);
    return { batch, id: 0n };
  }

  /**
   * The next batch of a cursor that may wait for one: as `next`, but empty only after `milliseconds`.
   * @param milliseconds default 1000, as the server; only for a cursor that was opened with `awaitData`
   */
  async awaitNext(
    id: bigint,
    ns: string,
    size: number,
    milliseconds?: number,
  ): Promise<{ batch: Uint8Array[]; id: bigint }> {
    const { tail } = this.#checked(id, ns);
    if (milliseconds !== undefined && !tail?.awaitData) {
      throw new CommandError(
        "BadValue",
        "cannot set maxTimeMS on getMore command for a non-awaitData cursor",
      );
    }
    const end = performance.now() + (milliseconds ?? AWAIT_DATA);
    for (;;) {
      const next = this.next(id, ns, size);
      const left = end - performance.now();
      if (next.batch.length || !next.id || !tail?.awaitData || left <= 0) return next;
      await this.#arrival(tail, left);
    }
  }

  /** Resolves when something was inserted, time is up, or cursors are closed. */
  #arrival({ listeners }: Tail, milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        listeners.delete(done);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      listeners.add(done);
      this.#waiting.add(done);
    });
  }

  #wake(): void {
    for (const done of [...this.#waiting]) done();
  }

  #remove(cursor: Cursor): void {
    if (this.#open.delete(cursor.id)) this.#held -= cursor.held;
  }

  /** Close all. */
  close(): void {
    this.#open.clear();
    this.#wake();
  }

  /** Is there such a cursor? */
  has(id: bigint): boolean {
    return this.#open.has(id);
  }

  #checked(id: bigint, ns: string): Cursor {
    const cursor = this.#open.get(id);
    if (!cursor) throw new CommandError("CursorNotFound", `cursor id ${id} not found`);
    if (cursor.ns !== ns) {
      throw new CommandError(
        "Unauthorized",
        `Requested getMore on namespace '${ns}', but cursor belongs to a different namespace ${cursor.ns}`,
      );
    }
    cursor.lastUsed = Date.now();
    return cursor;
  }

  /** Close a cursor; false when there is none of that id and namespace. */
  kill(id: bigint, ns: string): boolean {
    const cursor = this.#open.get(id);
    if (!cursor || cursor.ns !== ns) return false;
    cursor.source.return?.();
    this.#remove(cursor);
    this.#wake();
    return true;
  }

  /** Close every cursor on a collection that is dropped. */
  killNamespace(ns: string): void {
    for (const cursor of this.#open.values()) {
      if (cursor.ns === ns) this.#remove(cursor);
    }
    this.#wake();
  }

  /** Close cursors that nobody has used for too long. */
  sweep(now = Date.now()): void {
    for (const cursor of this.#open.values()) {
      if (!cursor.noTimeout && now - cursor.lastUsed > this.timeout) this.#remove(cursor);
    }
  }
}

function takeBatch(cursor: Cursor, size: number): Uint8Array[] {
  const batch = readBatch(cursor, size);
  cursor.rest?.();
  // The source stands at the last document that it gave.
  cursor.held = (batch.at(-1)?.length ?? 0) + (cursor.pending?.length ?? 0);
  return batch;
}

function readBatch(cursor: Cursor, size: number): Uint8Array[] {
  const batch: Uint8Array[] = [];
  let bytes = 0;
  while (batch.length < size) {
    let doc = cursor.pending;
    cursor.pending = undefined;
    if (!doc) {
      const next = cursor.source.next();
      if (next.done) {
        cursor.done = cursor.tail === undefined;
        return batch;
      }
      doc = next.value;
    }
    if (batch.length && bytes + doc.length > MAX_BATCH_BYTES) {
      cursor.pending = doc;
      return batch;
    }
    bytes += doc.length + 8;
    batch.push(doc);
    // No look ahead: like the server's, a cursor that just filled its batch stays open, unless its limit is reached.
    if (--cursor.remaining <= 0) {
      cursor.done = true;
      return batch;
    }
  }
  return batch;
}
