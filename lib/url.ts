/**
 * Server URLs: the two that every tool reads, and how they are shown without their password.
 * @module
 */
import { type Flag, textFlag } from "./flags.ts";

/** `--amqp-url` and the variables that existing installations set. */
export const amqpUrlFlag: Flag<string> = textFlag("broker to use", {
  value: "URL",
  default: "amqp://guest:guest@localhost:5672",
  env: ["AMQP_URL", "AMQPURL", "RABBITMQ_URI", "QUEUE_URL"],
  parse: parseAmqpUrl,
});

/** `--mongo-url` and the variables that existing installations set. */
export const mongoUrlFlag: Flag<string> = textFlag("MongoDB to use", {
  value: "URL",
  default: "mongodb://localhost:27017",
  env: ["MONGO_URL", "MONGODB_URI"],
  parse: parseMongoUrl,
});

/**
 * Checks an AMQP URL; `host:port`, as `QUEUE_URL` has it, becomes a URL with the default user.
 * The rest of the URL (virtual host, `heartbeat`, `frameMax`, ...) is amqplib's to read.
 *
 * @throws {TypeError} when it is neither, without showing its password
 */
export function parseAmqpUrl(text: string): string {
  const url = /^[^/@]+:\d+$/.test(text) ? `amqp://guest:guest@${text}` : text;
  const parts = URL.canParse(url) ? new URL(url) : undefined;
  if (!parts || !/^amqps?:$/.test(parts.protocol) || !parts.hostname || decodes(parts) === false) {
    throw new TypeError(
      `cannot use '${redacted(text)}': expected amqp://user:password@host:port/vhost, ` +
        "with special characters in the password percent-encoded",
    );
  }
  return url;
}

/**
 * Checks that a MongoDB URL has the right scheme; the rest of it is the driver's to read.
 *
 * @throws {TypeError} when it has not, without showing its password
 */
export function parseMongoUrl(text: string): string {
  if (!/^mongodb(\+srv)?:\/\/[^/]/.test(text)) {
    throw new TypeError(
      `cannot use '${redacted(text)}': expected mongodb://user:password@host:port`,
    );
  }
  return text;
}

/**
 * Hides user and password of every URL in a text: what stands between the first `://` and the last `@` of a word, as a password that
 * somebody forgot to percent-encode may hold any character. Takes a time linear to the text's length.
 */
export function withoutPassword(text: string): string {
  if (!text.includes("://")) return text;
  return text.replace(/[^\s'"]+/g, (word) => {
    const start = word.indexOf("://") + 3;
    const end = word.lastIndexOf("@");
    // The example in our own errors is no secret.
    if (start < 3 || end < start || word.slice(start, end) === "user:password") return word;
    return word.slice(0, start) + "***" + word.slice(end);
  });
}

/** A server's URL for people: without user and password. */
export function nameOf(url: string): string {
  return withoutPassword(url).replace(/(:\/\/)[^@\s]*@/, "$1");
}

/** The same for a text that should have been a URL and is none. */
function redacted(text: string): string {
  return text.includes("://") ? withoutPassword(text) : text.replace(/.*@/s, "***@");
}

/** A `%` that is not the start of an escape would throw deep inside a client. */
function decodes(url: URL): boolean {
  try {
    return [url.username, url.password, url.pathname].every((part) =>
      decodeURIComponent(part) !== undefined
    );
  } catch {
    return false;
  }
}
