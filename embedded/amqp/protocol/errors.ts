/**
 * The errors that a client is told of (spec 1.8; RabbitMQ's texts).
 * @module
 */

/** Reply codes; those marked `hard` close the connection, the others the channel (spec 1.8). */
export const replies = {
  NO_ROUTE: { code: 312, hard: false },
  ACCESS_REFUSED: { code: 403, hard: false },
  NOT_FOUND: { code: 404, hard: false },
  RESOURCE_LOCKED: { code: 405, hard: false },
  PRECONDITION_FAILED: { code: 406, hard: false },
  CONNECTION_FORCED: { code: 320, hard: true },
  FRAME_ERROR: { code: 501, hard: true },
  SYNTAX_ERROR: { code: 502, hard: true },
  COMMAND_INVALID: { code: 503, hard: true },
  CHANNEL_ERROR: { code: 504, hard: true },
  UNEXPECTED_FRAME: { code: 505, hard: true },
  RESOURCE_ERROR: { code: 506, hard: true },
  NOT_ALLOWED: { code: 530, hard: true },
  NOT_IMPLEMENTED: { code: 540, hard: true },
  INTERNAL_ERROR: { code: 541, hard: true },
} as const;

/** Name of a reply code, as it starts a reply text. */
export type ReplyName = keyof typeof replies;

/**
 * An error that is told to the client: it closes the channel, or the connection when its reply code is hard.
 * `message` is the reply text as RabbitMQ words it, `NAME - explanation`.
 */
export class ProtocolError extends Error {
  readonly code: number;
  readonly hard: boolean;

  constructor(readonly reply: ReplyName, readonly explanation: string) {
    super(`${reply} - ${explanation}`);
    this.name = "ProtocolError";
    this.code = replies[reply].code;
    this.hard = replies[reply].hard;
  }
  /** The reply text as it is sent: a short string holds 255 octets, and RabbitMQ cuts the same way. */
  get replyText(): string {
    return this.message.length > 255 ? this.message.slice(0, 252) + "..." : this.message;
  }
}

/** What to answer to a method that is not known. @param id `class * 65536 + method` */
export function unknownMethod(id: number): ProtocolError {
  return new ProtocolError("COMMAND_INVALID", `unknown method ${id}`);
}
