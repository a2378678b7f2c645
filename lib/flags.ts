/**
 * Flags and environment to a typed configuration: one pure function over a table of flags.
 * @module
 */
import { Command, CommanderError, Option } from "commander";

/** One flag of a tool; its name is the key under which it stands in a {@linkcode Flags} table. */
export interface Flag<T> {
  /** One line for `--help`. */
  about: string;
  /** Placeholder of the value in `--help`, such as `N`; absent for a switch. */
  value?: string;
  /** One letter for a short spelling. */
  short?: string;
  /** Value when neither the flag nor a variable is given; `--help` shows none for `""` and `undefined`. */
  default: T;
  /** Environment variables that are read when the flag is not given, the first set one wins. */
  env?: readonly string[];
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
  /** The flags. */
  flags: F;
}

/** Wrong usage: a flag, a variable or an argument that cannot be used. Ends a tool with exit code 2. */
export class UsageError extends Error {
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
 * Flags win over variables, variables over defaults. The underscore spelling of a flag (`--app_id`) is accepted.
 * An empty variable counts as unset.
 *
 * @param usage the tool's flags and arguments
 * @param args the command line after the script's name
 * @param env looks a variable up
 * @returns the configuration and the positional arguments, or the help text when it is asked for
 * @throws {UsageError} for an unknown flag, a missing value or a value that cannot be used
 */
export function parseFlags<F extends Flags>(
  usage: Usage<F>,
  args: readonly string[],
  env: (name: string) => string | undefined,
): { flags: Values<F>; words: string[] } | { help: string } {
  let help = "";
  const command = new Command(usage.name)
    .description(usage.about)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => help += text,
      writeErr: () => {},
      // Commander would read further variables for these.
      getOutHasColors: () => false,
      getErrHasColors: () => false,
      getOutHelpWidth: () => 100,
    })
    .helpOption("-h, --help", "show this help");
  if (usage.arguments) command.argument(usage.arguments);
  else command.allowExcessArguments(false);
  if (usage.notes) command.addHelpText("after", `\n${usage.notes}`);
  for (const [key, flag] of Object.entries(usage.flags)) {
    command.addOption(option(key, flag));
  }

  try {
    command.parse(withDashes(args, usage.flags), { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { help };
    throw new UsageError(`${error.message.replace(/^error: /, "")}; see --help`);
  }

  const given = command.opts();
  const flags: Record<string, unknown> = {};
  for (const [key, flag] of Object.entries(usage.flags)) {
    const variable = flag.env?.find((name) => env(name));
    if (key in given) flags[key] = convert(long(key), given[key], flag);
    else if (variable) flags[key] = convert(variable, env(variable)!, flag);
    else flags[key] = flag.default;
  }
  return { flags: flags as Values<F>, words: command.args };
}

/** Not commander's own `argParser`: its error repeats the value, which may hold a password. */
function convert(source: string, value: string | boolean, flag: Flag<unknown>): unknown {
  if (typeof value === "boolean" || !flag.parse) return value;
  try {
    return flag.parse(value);
  } catch (error) {
    throw new UsageError(`${source}: ${(error as Error).message}`);
  }
}

function option(key: string, flag: Flag<unknown>): Option {
  const short = flag.short ? `-${flag.short}, ` : "";
  const value = flag.value ? ` <${flag.value}>` : "";
  const initial = flag.value && flag.default !== "" && flag.default !== undefined
    ? ` (default: ${flag.default})`
    : "";
  const variables = flag.env ? ` (env: ${flag.env.join(", ")})` : "";
  return new Option(`${short}${long(key)}${value}`, flag.about + initial + variables);
}

/** `batchSize` to `--batch-size`. */
function long(key: string): string {
  return "--" + key.replace(/[A-Z]/g, (letter) => "-" + letter.toLowerCase());
}

/** Existing callers spell flags with underscores (`--app_id`); only known flags are touched, and nothing after `--`. */
function withDashes(args: readonly string[], flags: Flags): string[] {
  const known = new Set(Object.keys(flags).map(long));
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  return args.map((arg, index) => {
    if (index >= end || !arg.startsWith("--")) return arg;
    const [name = "", ...value] = arg.split("=");
    const dashed = name.replaceAll("_", "-");
    return known.has(dashed) ? [dashed, ...value].join("=") : arg;
  });
}
