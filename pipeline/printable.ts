/**
 * Text from outside, made safe to show.
 * @module
 */

/**
 * The text, so that it cannot move the cursor, forge a line or flood a terminal: control characters and those that turn the direction of
 * writing are escaped, and what is longer than `most` characters is cut, which is said.
 */
export function printable(text: string, most = 200): string {
  const cut = text.length <= most ? text : text.slice(0, most);
  const safe = cut.replace(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, (char) => {
    if (char === "\n") return "\\n";
    const hex = char.codePointAt(0)!.toString(16);
    return hex.length > 2 ? `\\u${hex.padStart(4, "0")}` : `\\x${hex.padStart(2, "0")}`;
  });
  return cut === text ? safe : `${safe}... (${text.length} characters)`;
}
