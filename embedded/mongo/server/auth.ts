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

const MECHANISM = "SCRAM-SHA-256";
const ITERATIONS = 15_000; // the server's default

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
}

function hmac(key: Uint8Array, text: string): Uint8Array {
  return createHmac("sha256", key).update(text).digest();
}

function hash(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}

/** Derive what is kept of a password. NFKC is SASLprep for all but exotic code points. */
export function deriveCredentials(username: string, password: string): Credentials {
  const salt = randomBytes(28);
  const salted = pbkdf2Sync(password.normalize("NFKC"), salt, ITERATIONS, 32, "sha256");
  return {
    username,
    salt,
    storedKey: hash(hmac(salted, "Client Key")),
    serverKey: hmac(salted, "Server Key"),
  };
}

function failed(): CommandError {
  return new CommandError("AuthenticationFailed", "Authentication failed.");
}

interface Conversation {
  clientFirst: string;
  serverFirst: string;
  nonce: string;
  skipEmpty: boolean;
  /** The proof was right; only the empty exchange is left. */
  proved: boolean;
}

/** The login of one connection. */
export class Login {
  #credentials: Credentials;
  #conversation: Conversation | undefined;
  #done = false;

  /** @param credentials of the one user there is */
  constructor(credentials: Credentials) {
    this.#credentials = credentials;
  }

  /**
   * Answer a command of the login, or let another one pass.
   * @returns the answer, or undefined for a command that may be executed
   * @throws CommandError AuthenticationFailed, Unauthorized
   */
  intercept(body: Doc): Doc | undefined {
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
    if (typeof saslSupportedMechs === "string") {
      const user = saslSupportedMechs.slice(saslSupportedMechs.indexOf(".") + 1);
      if (user === this.#credentials.username) fields.saslSupportedMechs = [MECHANISM];
    }
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
    const first = /^[ny],[^,]*,(n=([^,]*),r=([^,]+).*)$/.exec(textOf(body.payload));
    const user = first?.[2]?.replaceAll("=2C", ",").replaceAll("=3D", "=");
    if (!first || user !== this.#credentials.username) throw failed();
    const nonce = first[3]! + randomBytes(24).toString("base64");
    const salt = base64(this.#credentials.salt);
    const serverFirst = `r=${nonce},s=${salt},i=${ITERATIONS}`;
    this.#conversation = {
      clientFirst: first[1]!,
      serverFirst,
      nonce,
      skipEmpty: isDoc(body.options) && flag(body.options.skipEmptyExchange),
      proved: false,
    };
    return { conversationId: 1, done: false, payload: binary(serverFirst), ok: 1 };
  }

  #continue(body: Doc): Doc {
    const conversation = this.#conversation;
    if (!conversation) throw new CommandError("ProtocolError", "No SASL session state found");
    if (conversation.proved) {
      this.#conversation = undefined;
      this.#done = true;
      return { conversationId: 1, done: true, payload: binary(""), ok: 1 };
    }
    this.#conversation = undefined;
    const last = /^(c=[^,]*,r=([^,]*)),p=(.*)$/.exec(textOf(body.payload));
    if (!last || last[2] !== conversation.nonce) throw failed();
    const message = `${conversation.clientFirst},${conversation.serverFirst},${last[1]}`;
    const { storedKey, serverKey } = this.#credentials;
    const signature = hmac(storedKey, message);
    const proof = Uint8Array.from(atobBytes(last[3]!));
    if (proof.length !== signature.length) throw failed();
    const clientKey = proof.map((byte, i) => byte ^ signature[i]!);
    if (!timingSafeEqual(hash(clientKey), storedKey)) throw failed();
    if (conversation.skipEmpty) this.#done = true;
    else this.#conversation = { ...conversation, proved: true };
    return {
      conversationId: 1,
      done: conversation.skipEmpty,
      payload: binary(`v=${base64(hmac(serverKey, message))}`),
      ok: 1,
    };
  }
}

function textOf(payload: unknown): string {
  if (!(payload instanceof Binary)) throw failed();
  return new TextDecoder().decode(payload.buffer.subarray(0, payload.position));
}

function binary(text: string): Binary {
  return new Binary(new TextEncoder().encode(text));
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

function atobBytes(text: string): number[] {
  try {
    return Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    throw failed();
  }
}
