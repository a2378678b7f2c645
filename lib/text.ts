/**
 * Bodies as text for people.
 * @module
 */
import { pause } from "./tool.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The body as text, or undefined when it is not UTF-8. */
export function textOf(body: Uint8Array): string | undefined {
  try {
    return strict.decode(body);
  } catch {
    return undefined;
  }
}

/** The body as text; one that is not UTF-8 with its bytes escaped: `caf\xe9`. */
export function shown(body: Uint8Array): string {
  return textOf(body) ?? Array.from(body, escaped).join("");
}

function escaped(byte: number): string {
  const printable = byte >= 0x20 && byte < 0x7f && byte !== 0x5c;
  return printable ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
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
