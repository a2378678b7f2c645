/**
 * What comes from outside, made safe to print: it cannot move the cursor, forge a line or show a password.
 * @module
 */
import { printable, withoutPassword } from "@event-sink/lib";

/** Characters of a name or an error that a line shows. */
const LONGEST = 500;

/** A name or an error as part of a line. */
export function inLine(text: string): string {
  return printable(withoutPassword(text), LONGEST);
}

/** JSON of one line that means the same: control characters, and those that turn the direction of writing, are escaped as JSON has it. */
export function inJson(json: string): string {
  return json.replace(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, (char) => {
    const code = char.charCodeAt(0);
    // JSON has those only between its tokens.
    return code < 0x20 ? " " : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
