/**
 * The limits of a MongoDB server, as `hello` announces them or its manual states them, and one of this store.
 * https://www.mongodb.com/docs/manual/reference/limits/
 * @module
 */

/** Largest document, in bytes. */
export const MAX_DOCUMENT = 16 * 1024 * 1024;
/** Largest message in either direction, in bytes. */
export const MAX_MESSAGE = 48_000_000;
/** Most statements in one write command. */
export const MAX_WRITE_BATCH = 100_000;
/** How deep a document may be nested. (Messages of the server may be a little deeper.) */
export const MAX_DEPTH = 200;
/** Bytes of documents or sort keys that one command may hold in memory. Above it, the server would use its disk. */
export const MAX_HELD = 256 * 1024 * 1024;
