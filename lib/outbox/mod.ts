/**
 * A service's own SQLite database, and the outbox in it. Apart from lib's `mod.ts`, as most tools have none: `@event-sink/lib/outbox`.
 * @module
 */
export * from "./outbox.ts";
export * from "./sqlite.ts";
