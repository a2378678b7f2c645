/**
 * CURVE: encryption of ZeroMQ connections, and keys that tell who is at the other end.
 *
 * Keys are 32 bytes, written as 40 characters of Z85. Sources: https://rfc.zeromq.org/spec/26/ (CurveZMQ),
 * https://rfc.zeromq.org/spec/32/ (Z85), http://api.zeromq.org/4-3:zmq-curve.
 * @module
 */
import { type Flags, textFlag, UsageError, type Values } from "@event-sink/lib";
import type { Socket } from "zeromq";

/** The keys of the router, whose sockets are the CURVE servers. */
export interface Curve {
  secretKey: string;
  /** Public keys of the clients that are let in; anybody with the server's public key when absent. */
  clientKeys: string[] | undefined;
}

/** The flags of the tools that connect. */
export const keyFlags = {
  serverKey: textFlag("the router's public CURVE key, when it has keys", {
    value: "KEY",
    default: "",
  }),
  keyFile: textFlag("this client's own CURVE keys, when the router lets in known clients only", {
    value: "FILE",
    default: "",
  }),
} satisfies Flags;

const ALPHABET =
  "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/** A key of 32 bytes as 40 characters of Z85. */
export function toZ85(key: Uint8Array): string {
  const view = new DataView(key.buffer, key.byteOffset, key.length);
  let text = "";
  for (let at = 0; at < key.length; at += 4) {
    const word = view.getUint32(at);
    for (let unit = 85 ** 4; unit >= 1; unit /= 85) text += ALPHABET[Math.floor(word / unit) % 85];
  }
  return text;
}

/** Whether a text stands for a key: each five characters are four bytes, and so a number below 2^32. */
export function isKey(text: string): boolean {
  const groups = text.match(/.{5}/gs) ?? [];
  const value = (group: string) =>
    [...group].reduce((sum, char) => {
      const digit = ALPHABET.indexOf(char);
      return digit < 0 ? NaN : sum * 85 + digit;
    }, 0);
  return text.length === 40 && groups.every((group) => value(group) < 2 ** 32);
}

/** The CURVE options of a socket that binds; none when the router has no keys. */
export function curveServerOptions(curve: Curve | undefined) {
  if (!curve) return {};
  const server = { curveServer: true, curveSecretKey: curve.secretKey };
  // Enforced, so that without a ZAP handler nobody is let in, rather than everybody.
  return curve.clientKeys
    ? { ...server, zapDomain: "event-reactor", zapEnforceDomain: true }
    : server;
}

/**
 * The CURVE options of a socket that connects; none when the router has no keys. A client without a key file makes up its keys.
 *
 * @throws {UsageError} when a key cannot be used, without showing it
 */
export async function curveClientOptions(
  { serverKey, keyFile }: Values<typeof keyFlags>,
) {
  if (keyFile && !serverKey) throw new UsageError("--key-file is of no use without --server-key");
  if (!serverKey) return {};
  if (!isKey(serverKey)) {
    throw new UsageError("--server-key: expected a public key, 40 characters of Z85");
  }
  const { publicKey, secretKey } = keyFile
    ? await readKeys(keyFile)
    : (await import("zeromq")).curveKeyPair();
  return { curveServerKey: serverKey, curvePublicKey: publicKey, curveSecretKey: secretKey };
}

async function readKeys(file: string): Promise<{ publicKey: string; secretKey: string }> {
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (error) {
    throw new UsageError(`--key-file: cannot read '${file}': ${(error as Error).message}`);
  }
  try {
    const { public_key: publicKey, secret_key: secretKey } = JSON.parse(text);
    if (isKey(publicKey) && isKey(secretKey)) return { publicKey, secretKey };
  } catch {
    // The error would show the text.
  }
  const expected = '{ "public_key": "...", "secret_key": "..." } with 40 characters of Z85 each';
  throw new UsageError(`--key-file: cannot use '${file}': expected ${expected}`);
}

/** Why a connection did not come about. */
export interface Refusal {
  why: string;
  /** Whether ZeroMQ has given up. Otherwise it tries again, as after a peer that hung up without a reason. */
  final: boolean;
}

/** Calls `refused` for each connection that does not come about. With a wrong server key the server hangs up without a reason. */
export function watchHandshake({ events }: Socket, refused: (refusal: Refusal) => void) {
  events.on("handshake:error:auth", () => {
    refused({ why: "the router does not know this client's key", final: true });
  });
  events.on("handshake:error:protocol", () => {
    refused({ why: "one side has CURVE keys and the other has not", final: true });
  });
  events.on("handshake:error:other", () => {
    refused({ why: "the other side hung up; is the server key the right one?", final: false });
  });
}
