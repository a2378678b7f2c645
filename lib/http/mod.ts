/**
 * A tool's HTTP server. Apart from lib's `mod.ts`, as most tools have none: `@event-sink/lib/http`.
 * @module
 */
export * from "./app.ts";
export * from "./body.ts";
export { metricsText } from "./exposition.ts";
export * from "./live.ts";
export * from "./server.ts";
