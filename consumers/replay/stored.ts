/**
 * Reading what the Mongo consumer has stored.
 * @module
 */
import { type Mongo, type OutageOptions, type SavedMessage, throughOutages } from "@event-sink/lib";
import { EJSON } from "bson";
import type { Document, FindCursor, MongoServerError } from "mongodb";
import { type Found, type Mark, type Source, stableId, Unusable } from "./source.ts";

/** Exchange that the Mongo consumer's messages come from; it is not stored with them. */
const EXCHANGE = "clowder.metrics";

/** Which documents, and how. */
export interface StoredOptions extends Pick<OutageOptions, "log"> {
  database: string;
  collection: string;
  /** Received then, or later. */
  since?: Date;
  /** Received before. */
  until?: Date;
  /** Whether to count the documents, so that there is a share. */
  counting: boolean;
}

/** The documents of a collection, in the order in which they were received. A place is the `created` and the `_id` of the last one. */
export function openStored(
  { client }: Mongo,
  { database, collection: name, since, until, counting, log }: StoredOptions,
): Source {
  const collection = client.db(database).collection(name);
  const started = Date.now();

  /** In the negative, so that what is not as the Mongo consumer stores it is found, and said. */
  function filter(last: Mark | undefined): Document {
    const not: Document[] = [{ created: { $gt: started } }]; // what a consumer of this replay stores
    if (since) not.push({ created: { $lt: since.getTime() } });
    if (until) not.push({ created: { $gte: until.getTime() } });
    if (last) {
      not.push({ created: { $lt: last.created } });
      // In an expression, as otherwise only ids of the same type compare.
      not.push({ created: last.created, $expr: { $lte: ["$_id", { $literal: last._id }] } });
    }
    return { $nor: not };
  }

  async function* documents(from: Mark | undefined, signal: AbortSignal) {
    let last = from && EJSON.deserialize(from, { relaxed: true }) as Mark;
    let cursor: FindCursor<Document> | undefined;
    async function next() {
      try {
        cursor ??= collection.find(filter(last), {
          sort: { created: 1, _id: 1 },
          allowDiskUse: true,
          promoteBuffers: true,
        });
        return await cursor.next();
      } catch (error) {
        await cursor?.close().catch(() => {});
        cursor = undefined;
        throw error;
      }
    }
    try {
      while (!signal.aborted) {
        const outage = { signal, log, doing: "read from MongoDB", isFinal };
        const document = await throughOutages(next, outage);
        if (!document) return;
        yield document;
        last = document;
      }
    } finally {
      await cursor?.close().catch(() => {});
    }
  }

  return {
    name: `'${database}.${name}'`,
    async *read(from, stop) {
      const total = counting
        ? await collection.countDocuments(filter(from && EJSON.deserialize(from) as Mark))
        : 0;
      let read = 0;
      for await (const document of documents(from, stop)) {
        yield foundOf(document, `${database}.${name}`, ++read, total);
      }
    },
    record: ({ created, _id }) => Promise.resolve(EJSON.serialize({ created, _id }) as Mark),
    check(record) {
      const whole = "created" in record && "_id" in record;
      return whole ? Promise.resolve() : Promise.reject(new Error("it names no document"));
    },
    async [Symbol.asyncDispose]() {},
  };
}

function foundOf(document: Document, from: string, read: number, total: number): Found {
  const { _id, created } = document;
  const name = `document ${typeof _id === "string" ? JSON.stringify(_id) : EJSON.stringify(_id)}`;
  return {
    name,
    message: messageOf(document, name),
    id: () => stableId(from, EJSON.stringify(_id, { relaxed: false })),
    mark: { created, _id },
    share: total > 0 ? Math.min(1, read / total) : undefined,
  };
}

/** The message that became this document of the Mongo consumer's. */
function messageOf(document: Document, name: string): SavedMessage {
  const { _id, created, message, event, routingKey = "", headers, publishedAt } = document;
  const wrong = (what: string) => new Unusable(`${name}: ${what}`);
  if (typeof created !== "number") throw wrong("'created' is no number");
  if (typeof message !== "string") throw wrong("'message' is no text");
  if (typeof routingKey !== "string") throw wrong("'routingKey' is no text");
  if (headers !== undefined && (typeof headers !== "object" || headers === null)) {
    throw wrong("'headers' is no object");
  }
  if (publishedAt !== undefined && !(publishedAt instanceof Date)) {
    throw wrong("'publishedAt' is no date");
  }
  return {
    time: new Date(created),
    exchange: EXCHANGE,
    routingKey,
    body: new TextEncoder().encode(message),
    properties: {
      contentType: event === undefined ? "text/plain" : "application/json", // not stored; as `send` says it
      ...typeof _id === "string" && { messageId: _id },
      ...publishedAt && { timestamp: Math.floor(publishedAt.getTime() / 1000) },
      ...headers && { headers },
    },
  };
}

/** Errors about the question (https://www.mongodb.com/docs/manual/reference/error-codes/): 2 BadValue, 73 InvalidNamespace, 292 QueryExceededMemoryLimitNoDiskUseAllowed. */
function isFinal(error: unknown): boolean {
  return [2, 73, 292].includes(Number((error as MongoServerError).code));
}
