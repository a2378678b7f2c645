/**
 * SCRAM-SHA-256, the server's side: a client proves that it knows the password without sending it.
 * https://www.rfc-editor.org/rfc/rfc5802, https://www.rfc-editor.org/rfc/rfc7677,
 * https://www.mongodb.com/docs/manual/core/security-scram/
 * @module
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from "node:crypto";
import { Binary } from "bson";
import { CommandError } from "../errors.ts";
import type { Doc } from "../values/bson_view.ts";
import { isDoc } from "../values/compare.ts";
import { flag } from "../values/field_checks.ts";
import type { LoginDelays } from "./login_delays.ts";

const MECHANISM = "SCRAM-SHA-256";
const ITERATIONS = 15_000; // the server's default
const SALT_SIZE = 28;
const utf8 = new TextEncoder();

/** Commands that need no login, as on the server. */
const OPEN = new Set([
  "hello",
  "isMaster",
  "ismaster",
  "ping",
  "buildInfo",
  "buildinfo",
  "connectionStatus",
  "endSessions",
  "logout",
  "whatsmyuri",
]);

/** What is kept of a password. */
export interface Credentials {
  username: string;
  salt: Uint8Array;
  storedKey: Uint8Array;
  serverKey: Uint8Array;
  /** Of this store only: makes up what unknown users get to see. */
  secret: Uint8Array;
}

function hmac(key: Uint8Array, text: string): Uint8Array {
  return createHmac("sha256", key).update(text).digest();
}

function hash(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}

/** Derive what is kept of a password. NFKC is SASLprep for all but exotic code points. */
export function deriveCredentials(username: string, password: string): Credentials {
  const salt = randomBytes(SALT_SIZE);
  const salted = pbkdf2Sync(password.normalize("NFKC"), salt, ITERATIONS, 32, "sha256");
  return {
    username,
    salt,
    storedKey: hash(hmac(salted, "Client Key")),
    serverKey: hmac(salted, "Server Key"),
    secret: randomBytes(32),
  };
}

/**
 * What a user is measured by. Nobody learns whether there is one of a name: others get a salt of their own, always the
 * same, and keys that no password fits.
 */
function credentialsOf(known: Credentials, username: string): Credentials {
  const { secret } = known;
  const made: Credentials = {
    username,
    salt: hmac(secret, `salt ${username}`).slice(0, SALT_SIZE),
    storedKey: hmac(secret, `key ${username}`),
    serverKey: hmac(secret, `server key ${username}`),
    secret,
  };
  return sameText(username, known.username) ? known : made;
}

function sameText(a: string, b: string): boolean {
  return timingSafeEqual(hash(utf8.encode(a)), hash(utf8.encode(b)));
}

function failed(): CommandError {
  return new CommandError("AuthenticationFailed", "Authentication failed.");
}

interface Conversation {
  user: Credentials;
  /** The client's first message without its channel binding, and that. */
  clientFirst: string;
  binding: string;
  serverFirst: string;
  nonce: string;
  skipEmpty: boolean;
  /** The proof was right; only the empty exchange is left. */
  proved: boolean;
}

/** The login of one connection. */
export class Login {
  #conversation: Conversation | undefined;
  #done = false;

  /**
   * @param credentials of the one user there is
   * @param delays slow down whoever guesses
   * @param address of the client
   */
  constructor(
    private readonly credentials: Credentials,
    private readonly delays: LoginDelays,
    private readonly address: string,
  ) {}

  /** Whether the client has logged in. */
  get done(): boolean {
    return this.#done;
  }

  /**
   * Answer a command of the login, or let another one pass.
   * @returns the answer, or undefined for a command that may be executed
   * @throws CommandError AuthenticationFailed, Unauthorized
   */
  intercept(body: Doc): Doc | Promise<Doc> | undefined {
    const name = Object.keys(body)[0]!;
    if (name === "saslStart") return this.#start(body);
    if (name === "saslContinue") return this.#continue(body);
    if (this.#done || OPEN.has(name)) return undefined;
    throw new CommandError("Unauthorized", `Command ${name} requires authentication`);
  }

  /** What the login adds to the answer of `hello`. */
  helloFields(body: Doc): Doc {
    const fields: Doc = {};
    const { saslSupportedMechs, speculativeAuthenticate } = body;
    // For every name, whether there is such a user or not.
    if (typeof saslSupportedMechs === "string") fields.saslSupportedMechs = [MECHANISM];
    if (isDoc(speculativeAuthenticate) && speculativeAuthenticate.mechanism === MECHANISM) {
      try {
        fields.speculativeAuthenticate = this.#start(speculativeAuthenticate);
      } catch { /* the driver logs in the long way, and gets the error there */ }
    }
    return fields;
  }

  #start(body: Doc): Doc {
    this.#conversation = undefined;
    if (body.mechanism !== MECHANISM) {
      throw new CommandError(
        "MechanismUnavailable",
        `Unsupported mechanism '${body.mechanism}'; the embedded store has ${MECHANISM}`,
      );
    }
    const first = /^([ny],[^,]*,)(n=([^,]*),r=([^,]+).*)$/.exec(textOf(body.payload));
    if (!first) throw failed();
    const [, binding, clientFirst, name, clientNonce] = first as unknown as string[];
    const user = credentialsOf(
      this.credentials,
      name!.replaceAll("=2C", ",").replaceAll("=3D", "="),
    );
    const nonce = clientNonce! + randomBytes(24).toString("base64");
    const serverFirst = `r=${nonce},s=${base64(user.salt)},i=${ITERATIONS}`;
    this.#conversation = {
      user,
      clientFirst: clientFirst!,
      binding: base64(utf8.encode(binding)),
      serverFirst,
      nonce,
      skipEmpty: isDoc(body.options) && flag(body.options.skipEmptyExchange),
      proved: false,
    };
    return { conversationId: 1, done: false, payload: binary(serverFirst), ok: 1 };
  }

  async #continue(body: Doc): Promise<Doc> {
    const conversation = this.#conversation;
    if (!conversation) throw new CommandError("ProtocolError", "No SASL session state found");
    this.#conversation = undefined;
    if (conversation.proved) {
      this.#done = true;
      return { conversationId: 1, done: true, payload: binary(""), ok: 1 };
    }
    const { address, delays } = this;
    if (!await delays.turn(address)) throw failed();
    const signature = verified(conversation, textOf(body.payload));
    if (!signature) {
      delays.failed(address);
      throw failed();
    }
    delays.succeeded(address);
    if (conversation.skipEmpty) this.#done = true;
    else this.#conversation = { ...conversation, proved: true };
    return {
      conversationId: 1,
      done: conversation.skipEmpty,
      payload: binary(`v=${base64(signature)}`),
      ok: 1,
    };
  }
}

/** The server's signature, when the client's proof is right. */
function verified(conversation: Conversation, payload: string): Uint8Array | undefined {
  const { user, clientFirst, serverFirst, binding, nonce } = conversation;
  const last = /^(c=([^,]*),r=([^,]*)),p=(.*)$/.exec(payload);
  if (!last || last[2] !== binding || last[3] !== nonce) return undefined;
  const message = `${clientFirst},${serverFirst},${last[1]}`;
  const signature = hmac(user.storedKey, message);
  const proof = fromBase64(last[4]!);
  if (proof?.length !== signature.length) return undefined;
  const clientKey = proof.map((byte, i) => byte ^ signature[i]!);
  if (!timingSafeEqual(hash(clientKey), user.storedKey)) return undefined;
  return hmac(user.serverKey, message);
}

function textOf(payload: unknown): string {
  if (!(payload instanceof Binary)) throw failed();
  return new TextDecoder().decode(payload.buffer.subarray(0, payload.position));
}

function binary(text: string): Binary {
  return new Binary(utf8.encode(text));
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

function fromBase64(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
