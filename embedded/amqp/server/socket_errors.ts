/**
 * How Deno reports that a socket is closed.
 * @module
 */

const { errors } = Deno;
const closed = [
  errors.BadResource,
  errors.BrokenPipe,
  errors.ConnectionAborted,
  errors.ConnectionReset,
  errors.Interrupted,
  errors.NotConnected,
  errors.TimedOut,
  errors.UnexpectedEof,
];

/** Whether an error only says that the connection is gone, closed by either side or broken. */
export function isClosed(error: unknown): boolean {
  return closed.some((kind) => error instanceof kind);
}
