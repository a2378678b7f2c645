/**
 * Text for people: whatever comes from outside passes through here before it reaches a terminal, a log or a header.
 * @module
 */
import { pause } from "./wait.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The body as text, or undefined when it is not UTF-8. */
export function textOf(body: Uint8Array): string | undefined {
  try {
    return strict.decode(body);
  } catch {
    return undefined;
  }
}

/**
 * The text, so that it cannot move the cursor, forge a line or flood a terminal: control characters and those that turn the direction of
 * writing are escaped (`\n`, `\x1b`, `\u202e`), and what is longer than `most` characters (no limit) is cut, which is said.
 */
export function printable(text: string, most = Infinity): string {
  const cut = text.length <= most ? text : text.slice(0, most);
  const safe = cut.replace(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, (char) => {
    if (char === "\n") return "\\n";
    return escaped(char.codePointAt(0)!);
  });
  return cut === text ? safe : `${safe}... (${text.length} characters)`;
}

/** The body as text that is safe to print; one that is not UTF-8 with its bytes escaped: `caf\xe9`. */
export function shown(body: Uint8Array, most = Infinity): string {
  const text = textOf(body);
  if (text !== undefined) return printable(text, most);
  const start = Array.from(body.subarray(0, most), (byte) => {
    const plain = byte >= 0x20 && byte < 0x7f && byte !== 0x5c;
    return plain ? String.fromCharCode(byte) : escaped(byte);
  }).join("");
  return body.length <= most ? start : `${start}... (${body.length} bytes)`;
}

function escaped(code: number): string {
  const hex = code.toString(16);
  return code < 0x100 ? `\\x${hex.padStart(2, "0")}` : `\\u${hex.padStart(4, "0")}`;
}

/** The tutorial's pretended work: `seconds` for every dot of the text; rejects when the signal aborts. */
export async function pausePerDot(
  text: string,
  seconds: number,
  signal: AbortSignal,
): Promise<void> {
  const dots = text.split(".").length - 1;
  if (dots * seconds > 0) await pause(dots * seconds * 1000, signal);
}

/** `1 message`, `2 messages`. */
export function counted(count: number, noun = "message"): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
