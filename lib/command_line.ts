/**
 * The command line by commander: flags, commands, help.
 * @module
 */
import { Command, CommanderError, Option } from "commander";
import { type Flag, type Flags, long, type Usage, UsageError } from "./flags.ts";

/** What stands on a command line, as text. */
export interface CommandLine {
  /** The flags that were given, by their camelCase name; a switch is true. */
  given: Record<string, string | boolean>;
  /** The positional arguments. */
  words: string[];
  /** The command; `""` when the tool has none. */
  command: string;
}

/** `--completion`, which every tool has. */
export const completionFlag: Flag<string> = {
  about: "print the script by which a shell completes commands, flags and values; " +
    "with NAME if the tool is called by another name than in this help",
  value: "SHELL[:NAME]",
  choices: ["bash", "zsh", "fish"],
  default: "",
};

/** Why commander stops at {@linkcode completionFlag}. */
const COMPLETION = "completion";

/**
 * Reads a command line.
 *
 * @returns what stands there, or the help text, or the value of `--completion`, when it is asked for
 * @throws {UsageError} for an unknown flag or command, a missing value, too many or too few words
 */
export function readCommandLine<F extends Flags>(
  usage: Usage<F>,
  args: readonly string[],
): CommandLine | { help: string } | { completion: string } {
  let help = "";
  const program = new Command(usage.name).exitOverride().configureOutput({
    writeOut: (text) => help += text,
    writeErr: () => {},
    // Commander would read further variables for these.
    getOutHasColors: () => false,
    getErrHasColors: () => false,
    getOutHelpWidth: () => 100,
  }).configureHelp({ showGlobalOptions: true });
  if (usage.notes) program.addHelpText("after", `\n${usage.notes}`);
  const commands = Object.entries(usage.commands ?? {});
  const ofCommands = new Set(commands.flatMap(([, { flags = [] }]) => flags));
  describe(program, usage, Object.keys(usage.flags).filter((key) => !ofCommands.has(key)));
  program.addOption(optionOf("completion", completionFlag));
  // As with --help, the rest of the command line does not matter.
  program.on("option:completion", (asked) => {
    throw new CommanderError(0, COMPLETION, asked);
  });
  let chosen = commands.length === 0 ? program : undefined;
  for (const [name, command] of commands) {
    const one = program.command(name);
    describe(one, command, command.flags ?? []);
    one.action(() => void (chosen = one));
  }

  function describe(
    command: Command,
    { about, arguments: words }: { about: string; arguments?: string },
    keys: readonly string[],
  ) {
    command.description(about).helpOption("-h, --help", "show this help");
    if (words) command.argument(words);
    else command.allowExcessArguments(false);
    for (const key of keys) command.addOption(optionOf(key, usage.flags[key]!));
  }

  try {
    program.parse(withDashes(args, usage.flags), { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === COMPLETION) return { completion: error.message };
    if (error.exitCode === 0) return { help };
    // Without a command commander would show the help and fail.
    const text = error.code === "commander.help" ? "the command is missing" : error.message;
    throw new UsageError(`${text.replace(/^error: /, "").replace(/\n/g, " ")}; see --help`);
  }
  return {
    given: chosen!.optsWithGlobals(),
    words: chosen!.args,
    command: chosen === program ? "" : chosen!.name(),
  };
}

function optionOf(key: string, flag: Flag<unknown>): Option {
  const short = flag.short ? `-${flag.short}, ` : "";
  const value = flag.value ? ` <${flag.value}>` : "";
  const initial = flag.value && flag.default !== "" && flag.default !== undefined
    ? ` (default: ${flag.default})`
    : "";
  const variables = flag.env ? ` (env: ${flag.env.join(", ")})` : "";
  return new Option(`${short}${long(key)}${value}`, flag.about + initial + variables);
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
