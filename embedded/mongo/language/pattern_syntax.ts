/**
 * The syntax of MongoDB's regular expressions, which is PCRE's, put into that of RE2, which knows no backtracking and so
 * takes no more time than the text is long.
 *
 * What RE2 lacks is written in other words where that is possible, or refused: back-references, possessive quantifiers,
 * atomic groups, and look-ahead but at the start of a pattern.
 * https://www.pcre.org/current/doc/html/pcre2pattern.html, https://github.com/google/re2/wiki/Syntax
 * @module
 */

/** A pattern in the syntax of RE2, and look-aheads that it began with. */
export interface Translated {
  pattern: string;
  /** Must match, or must not, besides the pattern. */
  conditions: { pattern: string; negated: boolean }[];
}

/** PCRE only: what stands for it outside of a character class. */
const ESCAPES: Record<string, string> = {
  h: "[\\t\\x{20}\\x{A0}\\x{1680}\\x{180E}\\x{2000}-\\x{200A}\\x{202F}\\x{205F}\\x{3000}]",
  H: "[^\\t\\x{20}\\x{A0}\\x{1680}\\x{180E}\\x{2000}-\\x{200A}\\x{202F}\\x{205F}\\x{3000}]",
  N: "[^\\n]",
  R: "(?:\\r\\n|[\\n-\\r\\x{85}\\x{2028}\\x{2029}])",
  Z: "(?:\\n?\\z)",
  e: "\\x1b",
};
/** The same within one. */
const CLASS_ESCAPES: Record<string, string> = {
  h: ESCAPES.h!.slice(1, -1),
  b: "\\x08",
  e: "\\x1b",
};
/** Each is a pattern of its own to match. */
const MAX_LOOK_AHEADS = 20;

const REFUSED_GROUPS: [start: string, name: string][] = [
  ["(?=", "look-ahead but at the start of a pattern"],
  ["(?!", "look-ahead but at the start of a pattern"],
  ["(?>", "an atomic group"],
  ["(?|", "a branch reset group"],
  ["(?(", "a conditional group"],
  ["(?R", "recursion"],
  ["(?&", "recursion"],
  ["(?P>", "recursion"],
  ["(?P=", "a back-reference"],
  ["(*", "a verb"],
];

/**
 * Translate a pattern.
 * @param options of the regular expression, of which only `m` and `x` matter here
 * @throws SyntaxError for what RE2 has no words for; other faults of the pattern are left for RE2 to find
 */
export function translate(pattern: string, options: string): Translated {
  const inline = /^\(\?([a-z]+)\)/.exec(pattern)?.[1] ?? "";
  const flags = options + inline;
  const source = stripped(pattern.slice(inline ? inline.length + 3 : 0), flags.includes("x"));
  const { rest, conditions } = flags.includes("m")
    ? { rest: source, conditions: [] }
    : leadingLookAheads(source);
  const kept = inline.replaceAll("x", ""); // RE2 has no `x`
  const prefix = kept && `(?${kept})`;
  return {
    pattern: prefix + rewrite(rest),
    conditions: conditions.map(({ pattern, negated }) => ({
      pattern: prefix + rewrite(pattern),
      negated,
    })),
  };
}

/** A pattern without its comments, nor, when it is extended, the white space that is for readers only. */
function stripped(source: string, extended: boolean): string {
  let result = "";
  let kept = 0;
  let skipped = 0;
  const skip = (from: number, to: number) => {
    result += source.slice(kept, from);
    kept = skipped = to < 0 ? source.length : to;
  };
  scan(source, 0, (character, at) => {
    if (at < skipped) return false;
    if (source.startsWith("(?#", at)) skip(at, source.indexOf(")", at) + 1 || -1);
    else if (extended && character === "#") skip(at, source.indexOf("\n", at));
    else if (extended && /\s/.test(character)) skip(at, at + 1);
    return false;
  });
  return result + source.slice(kept);
}

/**
 * Look-aheads at the start of a pattern are tests of their own: `^(?=A)(?!B)C` is all of `^A`, not `^B`, `^C`.
 * So is the usual way to say 'does not contain': `^((?!A).)*$` is `^(.)*$` and nowhere A.
 */
function leadingLookAheads(
  source: string,
): { rest: string; conditions: Translated["conditions"] } {
  const conditions: Translated["conditions"] = [];
  const none = { rest: source, conditions: [] };
  const anchor = /^(\^|\\A)/.exec(source)?.[0];
  if (!anchor) return none;
  const tempered = /^\^\((\?:)?(?=\(\?!)/.exec(source);
  if (tempered) {
    const at = tempered[0].length;
    const end = groupEnd(source, at);
    const tail = /^\.\)[*+]\$$/.exec(source.slice(end + 1));
    if (!tail) return none;
    const banned = `(?:${source.slice(at + 3, end)})`;
    return { rest: tempered[0] + tail[0], conditions: [{ pattern: banned, negated: true }] };
  }
  let at = anchor.length;
  while (source.startsWith("(?=", at) || source.startsWith("(?!", at)) {
    const end = groupEnd(source, at);
    if (end < 0) return none;
    if (conditions.length >= MAX_LOOK_AHEADS) {
      throw unsupported(`more than ${MAX_LOOK_AHEADS} look-aheads`, source.slice(at, end + 1));
    }
    conditions.push({
      pattern: `^(?:${source.slice(at + 3, end)})`,
      negated: source[at + 2] === "!",
    });
    at = end + 1;
  }
  const rest = source.slice(at);
  // `^(?=A)B|C`: the look-ahead belongs to one branch only. `^(?=A)*`: a quantifier would now stand behind the anchor.
  if (hasBranches(rest) || /^[*+?{]/.test(rest)) return none;
  return { rest: anchor + rest, conditions };
}

/** Calls back for every character that is syntax: not escaped, not quoted, not in a class. It may say that it is done. */
function scan(
  source: string,
  from: number,
  visit: (character: string, at: number) => boolean,
): void {
  for (let at = from; at < source.length; at++) {
    if (source.startsWith("\\Q", at)) at = quoteEnd(source, at) - 1;
    else if (source[at] === "\\") at++;
    else if (source[at] === "[") at = classEnd(source, at) - 1;
    else if (visit(source[at]!, at)) return;
  }
}

/** The place of the parenthesis that closes the one at `start`; -1 when there is none. */
function groupEnd(source: string, start: number): number {
  let depth = 0;
  let end = -1;
  scan(source, start, (character, at) => {
    if (character === "(") depth++;
    if (character === ")" && --depth === 0) end = at;
    return end >= 0;
  });
  return end;
}

function hasBranches(source: string): boolean {
  let depth = 0;
  let found = false;
  scan(source, 0, (character) => {
    if (character === "(") depth++;
    if (character === ")") depth--;
    if (character === "|" && depth === 0) found = true;
    return found;
  });
  return found;
}

/** The place after the `\E` that ends the quotation at `start`. */
function quoteEnd(source: string, start: number): number {
  const end = source.indexOf("\\E", start + 2);
  return end < 0 ? source.length : end + 2;
}

/** The place after the bracket that closes the class at `start`. */
function classEnd(source: string, start: number): number {
  let at = start + 1;
  if (source[at] === "^") at++;
  if (source[at] === "]") at++; // the first one is an ordinary character
  for (; at < source.length && source[at] !== "]"; at++) {
    if (source[at] === "\\") at++;
    else if (source.startsWith("[:", at)) {
      const end = source.indexOf(":]", at);
      if (end >= 0) at = end + 1;
    }
  }
  return at + 1;
}

/** Replace what PCRE writes in another way than RE2. */
function rewrite(source: string): string {
  let result = "";
  for (let at = 0; at < source.length;) {
    const character = source[at]!;
    let end = at + 1;
    if (source.startsWith("\\Q", at)) {
      end = quoteEnd(source, at);
      result += source.slice(at, end);
    } else if (character === "\\") {
      end = at + escapeLength(source, at);
      result += escaped(source.slice(at, end), ESCAPES);
    } else if (character === "[") {
      end = classEnd(source, at);
      result += rewriteClass(source.slice(at, end));
    } else if (character === "(") {
      const refused = REFUSED_GROUPS.find(([start]) => source.startsWith(start, at));
      if (refused) throw unsupported(refused[1], refused[0]);
      result += character;
    } else result += character;
    at = end;
  }
  return result;
}

function rewriteClass(source: string): string {
  return source.replace(/\\(?:c.|.)/gsu, (text) => escaped(text, CLASS_ESCAPES));
}

/** An escape is a backslash and one character, but `\cA`. */
function escapeLength(source: string, at: number): number {
  if (source[at + 1] === "c") return 3;
  return source.codePointAt(at + 1)! > 0xffff ? 3 : 2;
}

function escaped(text: string, known: Record<string, string>): string {
  const character = text.slice(1);
  if (Object.hasOwn(known, character)) return known[character]!;
  if (known === ESCAPES && /^[1-9kg]$/.test(character)) throw unsupported("a back-reference", text);
  if (known === ESCAPES && /^[GKX]$/.test(character)) throw unsupported("it", text);
  if (/^c[\x20-\x7e]$/.test(character)) {
    const control = character[1]!.toUpperCase().charCodeAt(0) ^ 0x40;
    return `\\x{${control.toString(16)}}`;
  }
  // A backslash before what is neither letter nor digit means nothing.
  return character !== "" && character.codePointAt(0)! > 0x7f ? character : text;
}

function unsupported(what: string, text: string): SyntaxError {
  return new SyntaxError(`${what} is not supported by the embedded store: ${text}`);
}
