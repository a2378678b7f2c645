/**
 * The limits of a MongoDB server, as `hello` announces them or its manual states them.
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
