/**
 * Flags and environment to a typed configuration: one pure function over a table of flags.
 * @module
 */

/** One flag of a tool; its name is the key under which it stands in a {@linkcode Flags} table. */
export interface Flag<T> {
  /** One line for `--help`. */
  about: string;
  /** Placeholder of the value in `--help`, such as `N`; absent for a switch. The shell completes a `FILE` and a `DIR`. */
  value?: string;
  /** One letter for a short spelling. */
  short?: string;
  /** Value when neither the flag nor a variable is given; `--help` shows none for `""` and `undefined`. */
  default: T;
  /** Environment variables that are read when the flag is not given, the first set one wins. */
  env?: readonly string[];
  /** The words that the value may be, for completion at the shell; see {@linkcode choiceFlag}. */
  choices?: readonly string[];
  /** Turns text into the value; throws an error that says what was expected and what it is. */
  parse?: (text: string) => T;
}

/** Flags by their camelCase name: `batchSize` is `--batch-size` on the command line. */
// deno-lint-ignore no-explicit-any
export type Flags = Record<string, Flag<any>>;

/** The configuration that a {@linkcode Flags} table leads to. */
export type Values<F extends Flags> = {
  [K in keyof F]: F[K] extends Flag<infer T> ? T : never;
};

/** What a tool says of its command line. */
export interface Usage<F extends Flags> {
  /** Name in the usage line, such as `recv`. */
  name: string;
  /** What the tool does, for `--help`. */
  about: string;
  /** Positional arguments in commander's notation, such as `[words...]`; none when absent. */
  arguments?: string;
  /** Text after the list of flags: queues, dead-letter queue, examples. */
  notes?: string;
  /** The flags; those that a command names are taken by that command only. */
  flags: F;
  /** The commands of a tool that does several things; the first word says which. */
  commands?: Record<string, CommandUsage>;
}

/** What a tool says of one of its commands. */
export interface CommandUsage {
  /** What the command does, for `--help`. */
  about: string;
  /** Its positional arguments, as in {@linkcode Usage}. */
  arguments?: string;
  /** The flags that it takes besides those that every command takes. */
  flags?: readonly string[];
}

/** A command line that was understood. */
export interface Parsed<F extends Flags> {
  /** The configuration. */
  flags: Values<F>;
  /** The positional arguments. */
  words: string[];
  /** The command; `""` when the tool has none. */
  command: string;
}

/** Wrong usage: a flag, a variable or an argument that cannot be used. Ends a tool with exit code 2. */
export class UsageError extends Error {
  /** For those who see it through its name only. */
  override name = "UsageError";
}

/** A flag that takes any text. */
export function textFlag(about: string, rest: Omit<Flag<string>, "about">): Flag<string> {
  return { value: "TEXT", ...rest, about };
}

/** A switch: false unless given. */
export function switchFlag(about: string): Flag<boolean> {
  return { about, default: false };
}

/**
 * A flag that takes one of a few words.
 *
 * @param spelling makes the word of another spelling of it
 */
export function choiceFlag<T extends string, D extends T | "" | undefined = T>(
  about: string,
  choices: readonly T[],
  { spelling = (text) => text, ...rest }:
    & { spelling?: (text: string) => string }
    & Omit<Flag<T | D>, "about" | "choices" | "parse">,
): Flag<T | D> {
  const parse = (text: string) => {
    const found = choices.find((choice) => choice === spelling(text));
    if (found !== undefined) return found;
    const expected = `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`;
    throw new TypeError(`expected ${expected}, not '${text}'`);
  };
  return { ...rest, about, choices, parse };
}

/** A flag that takes a number from `min` (0) to `max` (no limit); whole numbers only with `whole`. */
export function numberFlag(
  about: string,
  { min = 0, max = Infinity, whole = false, ...rest }:
    & { min?: number; max?: number; whole?: boolean }
    & Omit<Flag<number>, "about" | "parse">,
): Flag<number> {
  const parse = (text: string) => {
    const number = text.trim() === "" ? NaN : Number(text);
    if (!(number >= min && number <= max) || (whole && !Number.isInteger(number))) {
      const upTo = max === Infinity ? `of at least ${min}` : `from ${min} to ${max}`;
      throw new RangeError(`expected a ${whole ? "whole " : ""}number ${upTo}, not '${text}'`);
    }
    return number;
  };
  return { value: "N", ...rest, about, parse };
}

/**
 * Reads the command line and the environment.
 *
 * Flags win over variables, variables over defaults. The underscore spelling of a flag (`--app_id`) is accepted. An empty variable counts
 * as unset; an empty value of a flag, such as that of an unset shell variable, is refused.
 *
 * @param usage the tool's flags and arguments
 * @param args the command line after the script's name
 * @param env looks a variable up
 * @returns the configuration, or what is to be shown instead when `--help` or `--completion` asks for it
 * @throws {UsageError} for an unknown flag, a missing value or a value that cannot be used
 */
export async function parseFlags<F extends Flags>(
  usage: Usage<F>,
  args: readonly string[],
  env: (name: string) => string | undefined,
): Promise<Parsed<F> | { help: string } | { completion: string }> {
  const line = isPlain(usage, args)
    ? { given: {}, words: [...args], command: "" }
    : (await import("./command_line.ts")).readCommandLine(usage, args);
  if (!("given" in line)) return line;
  const flags: Record<string, unknown> = {};
  for (const [key, flag] of Object.entries(usage.flags)) {
    const variable = flag.env?.find((name) => env(name));
    if (key in line.given) flags[key] = convert(long(key), line.given[key]!, flag);
    else if (variable) flags[key] = convert(variable, env(variable)!, flag);
    else flags[key] = flag.default;
  }
  return { flags: flags as Values<F>, words: line.words, command: line.command };
}

/** Without a flag there is nothing to parse, and commander, which takes as long to load as the rest of lib, is not needed. */
function isPlain(usage: Usage<Flags>, args: readonly string[]): boolean {
  if (usage.commands || args.some((arg) => arg.startsWith("-"))) return false;
  return args.length === 0
    ? !usage.arguments?.startsWith("<")
    : /^\[.*\.\.\.\]$/.test(usage.arguments ?? "");
}

/** Not commander's own `argParser`: its error repeats the value, which may hold a password. */
function convert(source: string, value: string | boolean, flag: Flag<unknown>): unknown {
  if (typeof value === "boolean") return value;
  if (!flag.parse) {
    if (value !== "") return value;
    throw new UsageError(`${source}: expected ${flag.value}, not an empty text`);
  }
  try {
    return flag.parse(value);
  } catch (error) {
    throw new UsageError(`${source}: ${(error as Error).message}`);
  }
}

/** `batchSize` to `--batch-size`. */
export function long(key: string): string {
  return "--" + key.replace(/[A-Z]/g, (letter) => "-" + letter.toLowerCase());
}
