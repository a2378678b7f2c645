/**
 * Patterns of ECMA-262, which JSON Schemas have, in RE2's words.
 * @module
 */

/** What `\s` is in ECMA-262 (https://tc39.es/ecma262/#sec-characterclassescape), where RE2 knows ASCII alone; and all else, for `\S`. */
const SPACE =
  "\\t-\\r \\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}\\x{feff}";
const NO_SPACE =
  "\\x{0}-\\x{8}\\x{e}-\\x{1f}!-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}" +
  "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{fefe}\\x{ff00}-\\x{10ffff}";

/**
 * Returns a pattern, which is one of ECMA-262 with the flag `u`, so that RE2 understands by it what ECMA-262 does.
 *
 * @throws {SyntaxError} when it is none, also where RE2 would take it, and for references to groups, which RE2 takes for letters
 */
export function inRe2(pattern: string): string {
  new RegExp(pattern, "u");
  let inClass = false;
  return pattern.replace(/\\u[dD][89abAB]..|\\[^]|[[\].]/g, (token) => {
    if (token === "[") inClass = true;
    else if (token === "]") inClass = false;
    else if (token === "." && !inClass) return "[^\\n\\r\\x{2028}\\x{2029}]";
    else if (token === "\\s") return inClass ? SPACE : `[${SPACE}]`;
    else if (token === "\\S") return inClass ? NO_SPACE : `[${NO_SPACE}]`;
    else if (token === "\\b" && inClass) return "\\x08";
    else if (token === "\\k") throw new SyntaxError("references to groups are not supported");
    else if (token.length > 2) throw new SyntaxError("write '\\u{...}' for a pair of surrogates");
    return token;
  });
}
