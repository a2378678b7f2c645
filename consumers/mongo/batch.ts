/**
 * Writing in batches: many documents to one insert, an answer for each.
 * @module
 */
import {
  BadMessage,
  currentTrace,
  histogram,
  inSpan,
  type Log,
  throughOutages,
  type Traced,
} from "@event-sink/lib";
import { type Collection, type Document, MongoBulkWriteError, MongoServerError } from "mongodb";

/** Upper bounds of the buckets for the sizes of batches. */
const SIZES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000];

interface Pending {
  document: Document;
  trace: Traced;
  resolve: () => void;
  reject: (error: Error) => void;
}

/** How to batch. */
export interface BatchOptions {
  /** Gives up what waits for MongoDB. */
  signal: AbortSignal;
  /** Where to say that MongoDB is away. */
  log: Log;
  /** Documents per insert. */
  size: number;
  /** Milliseconds that the first document of a batch waits for others. */
  delay: number;
  /** Is told why MongoDB will not be written to, however often it is tried. */
  refused: (error: Error) => void;
}

/**
 * Returns a function that writes a document with the next batch and resolves when it is stored. A duplicate `_id` counts as stored.
 * While MongoDB is away it waits: the caller bounds how many documents may be in hand.
 *
 * The function rejects with {@linkcode BadMessage} when MongoDB cannot take this very document, and with the signal's reason when it aborts
 * while MongoDB is away.
 */
export function batchWriter(
  collection: Collection,
  { size, delay, refused, signal, log }: BatchOptions,
): (document: Document) => Promise<void> {
  let pending: Pending[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  let writing = false;
  const measured = histogram("event_sink_batch_documents", "Documents in one write", SIZES);

  async function writeAll() {
    clearTimeout(timer);
    timer = undefined;
    writing = true;
    // What came during a write has waited long enough.
    while (pending.length > 0) {
      const batch = pending.slice(0, size);
      pending = pending.slice(size);
      await write(batch);
    }
    writing = false;
  }

  async function write(batch: Pending[]) {
    measured(batch.length);
    try {
      const outage = { signal, log, doing: "write to MongoDB" };
      const bad = await throughOutages(() => traced(batch), outage);
      batch.forEach(({ resolve, reject }, index) => {
        const reason = bad.get(index);
        if (reason === undefined) resolve();
        else reject(new BadMessage(`MongoDB cannot take the document: ${reason}`));
      });
    } catch (error) {
      if (!signal.aborted) refused(error as Error);
      // Given back to the queue: another consumer, or the next start, stores them.
      batch.forEach(({ reject }) => reject(error as Error));
    }
  }

  /** Inserts as a span of the message's trace, or with links to those of several (https://opentelemetry.io/docs/specs/semconv/database/mongodb/). */
  function traced(batch: Pending[]): Promise<Map<number, string>> {
    const { collectionName, dbName } = collection;
    const attributes = {
      "db.system.name": "mongodb",
      "db.namespace": dbName,
      "db.collection.name": collectionName,
      "db.operation.name": "insert",
      ...batch.length > 1 && { "db.operation.batch.size": batch.length },
      "messaging.batch.message_count": batch.length,
    };
    const causes = batch.map(({ trace }) => trace);
    return inSpan(
      `insert ${collectionName}`,
      { kind: "client", causes, attributes },
      () => insert(batch),
    );
  }

  /** Inserts and returns why single documents were refused, by index; throws when MongoDB cannot be written to. */
  async function insert(batch: Pending[]): Promise<Map<number, string>> {
    try {
      await collection.insertMany(batch.map(({ document }) => document), { ordered: false });
      return new Map();
    } catch (error) {
      if (error instanceof MongoBulkWriteError && error.result.getWriteErrors().length > 0) {
        const errors = error.result.getWriteErrors().filter(({ err }) => !isRedelivery(err));
        // With one that is not about its document, such as that of a new primary, the batch is written again: what is stored counts as such.
        if (error.result.getWriteConcernError() || errors.some(({ code }) => !isItsFault(code))) {
          throw error;
        }
        return new Map(errors.map(({ index, errmsg = "unknown error" }) => [index, errmsg]));
      }
      if (!isAboutDocument(error)) throw error;
      // The driver or the server refuses the batch as a whole without saying for which document.
      if (batch.length === 1) return new Map([[0, (error as Error).message]]);
      const bad = new Map<number, string>();
      for (const [index, each] of batch.entries()) {
        const [reason] = (await insert([each])).values();
        if (reason !== undefined) bad.set(index, reason);
      }
      return bad;
    }
  }

  return (document) =>
    new Promise((resolve, reject) => {
      pending.push({ document, trace: currentTrace(), resolve, reject });
      if (writing) return;
      if (pending.length >= size) writeAll();
      else timer ??= setTimeout(writeAll, delay);
    });
}

/** Error 11000 on `_id`: the document is there already. On another unique index it is another event's. */
function isRedelivery(error: { code?: number; errmsg?: string; keyPattern?: Document }): boolean {
  return error.code === 11000 && /index: _id_/.test(error.errmsg ?? "");
}

/** Whether the documents are at fault rather than the connection or the server's state. */
function isAboutDocument(error: unknown): boolean {
  if (error instanceof RangeError || error instanceof TypeError) return true; // too deep, too long for the driver
  const { name, code } = error as Error & { code?: number };
  if (/^(BSON|MongoInvalidArgument)/.test(name)) return true;
  return error instanceof MongoServerError && code !== 11000 && isItsFault(code);
}

/**
 * What a document can be at fault for (https://www.mongodb.com/docs/manual/reference/error-codes/): 2 BadValue, 9 FailedToParse, 14
 * TypeMismatch, 15 Overflow, 22 InvalidBSON, 52 DollarPrefixedFieldName, 53 InvalidIdField, 55 InvalidDBRef, 56 EmptyFieldName, 121
 * DocumentValidationFailure, 171 CannotBuildIndexKeys, 10334 BSONObjectTooLarge, 11000 DuplicateKey, 16755 and 17262 values that an index
 * cannot take, 17280, 17419 and 17420 sizes.
 */
const faults = [
  ...[2, 9, 14, 15, 22, 52, 53, 55, 56, 121, 171],
  ...[10334, 11000, 16755, 17262, 17280, 17419, 17420],
];

function isItsFault(code: number | string | undefined): boolean {
  return faults.includes(Number(code));
}
