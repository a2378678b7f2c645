/**
 * Server URLs: the two that every tool reads, and how they are shown without their password.
 * @module
 */
import { type Flag, textFlag, UsageError } from "./flags.ts";

/** `--amqp-url` and the variables that existing installations set. */
export const amqpUrlFlag: Flag<string> = textFlag(
  "broker to use, or several nodes of one, separated by commas",
  {
    value: "URL",
    default: "amqp://guest:guest@localhost:5672",
    env: ["AMQP_URL", "AMQPURL", "RABBITMQ_URI", "QUEUE_URL"],
    parse: parseAmqpUrl,
  },
);

/** `--mongo-url` and the variables that existing installations set. */
export const mongoUrlFlag: Flag<string> = textFlag("MongoDB to use", {
  value: "URL",
  default: "mongodb://localhost:27017",
  env: ["MONGO_URL", "MONGODB_URI"],
  parse: parseMongoUrl,
});

/**
 * Checks an AMQP URL, which may name several nodes; `host:port`, as `QUEUE_URL` has it, becomes a URL with the default user.
 *
 * @throws {UsageError} when it is neither, without showing its password
 */
export function parseAmqpUrl(text: string): string {
  const url = /^[^/@]+:\d+$/.test(text) ? `amqp://guest:guest@${text}` : text;
  addressesOf(url);
  return url;
}

/**
 * The nodes that an AMQP URL names, each by a URL of its own. They are separated by commas, as whole URLs or as in MongoDB's
 * `amqp://user:password@a:5672,b:5672/vhost`; user, virtual host and parameters of the first hold for those without their own.
 *
 * @throws {UsageError} for what is no list of AMQP URLs, without showing a password
 */
export function addressesOf(list: string): string[] {
  const refuse = (why: string) => new UsageError(`cannot use '${redacted(list)}': ${why}`);
  const urls = list.split(/,(?=[\s,]*(?:\w+:\/\/|$))/).flatMap((url) => {
    const [, start, hosts, end] = /^\s*(\w+:\/\/(?:[^/?#]*@)?)([^/?#]*)(.*)/s.exec(url) ?? [];
    return hosts?.split(",").map((host) => host && start + host + end) ?? [url.trim()];
  });
  if (urls.length > 1 && urls.includes("")) throw refuse("an address in this list is empty");
  const [first, ...others] = urls.map((url) => {
    const parts = URL.canParse(url) ? new URL(url) : undefined;
    if (parts && /^amqps?:$/.test(parts.protocol) && parts.hostname && decodes(parts)) return parts;
    throw refuse(
      "expected amqp://user:password@host:port/vhost, with special characters in the password percent-encoded",
    );
  });
  for (const other of others) {
    if (other.protocol !== first!.protocol) {
      throw refuse("either all nodes are reached by amqp://, or all by amqps://");
    }
    if (!other.username && !other.password) {
      [other.username, other.password] = [first!.username, first!.password];
    }
    other.pathname ||= first!.pathname;
    other.search ||= first!.search;
  }
  if (first!.protocol === "amqp:" && /[?&](cacert|cert|key)file=/.test(list)) {
    throw refuse("certificates are for amqps://");
  }
  return [first!, ...others].map(({ href }) => href);
}

/**
 * Checks that a MongoDB URL has the right scheme, and a name for each host; the rest of it is the driver's to read.
 *
 * @throws {TypeError} when it has not, without showing its password
 */
export function parseMongoUrl(text: string): string {
  const [, hosts = ""] = /^mongodb(?:\+srv)?:\/\/(?:[^/]*@)?([^/?]*)/.exec(text) ?? [];
  if (hosts.split(",").includes("")) {
    throw new TypeError(
      `cannot use '${
        redacted(text)
      }': expected mongodb://user:password@host:port, or several host:port separated by commas`,
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
  }).replace(/([?&]\w*password=)[^&\s'"]+/gi, "$1***");
}

/** A server's URL for people: without user, password and parameters, each of an AMQP URL's nodes by itself. */
export function nameOf(url: string): string {
  const urls = /^amqps?:/.test(url) ? addressesOf(url) : [url];
  return urls.map((each) =>
    each.replace(/:\/\/[^/?]*@/, "://").replace(/(:\/\/)[^@]*@/s, "$1").replace(/\/?\?.*/s, "")
  )
    .join(", ");
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
