/**
 * Scripts by which bash, zsh and fish complete a tool's commands, its flags and their values.
 * @module
 */
import { completionFlag } from "./command_line.ts";
import { type Flag, type Flags, long, type Usage, UsageError } from "./flags.ts";

/** A flag as a shell sees it. */
interface Completed {
  /** Its spellings: `-f`, `--file`. */
  names: string[];
  about: string;
  /** What it takes; absent for a switch. */
  value?: string;
  choices: readonly string[];
}

/** A tool as a shell sees it. */
interface Completable {
  /** By which it is called. */
  name: string;
  /** The flags that it takes whatever the command. */
  flags: Completed[];
  /** Whether it takes words that only the user knows. */
  words: boolean;
  commands: { name: string; about: string; words: boolean; flags: Completed[] }[];
}

const shells: Record<string, (tool: Completable) => string[]> = { bash, zsh, fish };

/**
 * Returns the script that has a shell complete a tool: its commands, its flags, the values that are one of a few, files and directories.
 *
 * @param usage the tool's commands and flags
 * @param asked the shell, and after a colon the name by which the tool is called (`usage.name`)
 * @throws {UsageError} for another shell, and a name that a shell would take for something else
 */
export function completionScript(usage: Usage<Flags>, asked: string): string {
  const [, shell = "", name = usage.name] = /^(\w*)(?::(.*))?$/s.exec(asked) ?? [];
  if (!Object.hasOwn(shells, shell)) {
    throw new UsageError(`--completion: expected bash, zsh or fish, not '${asked}'`);
  }
  if (!/^\w[\w.+-]*$/.test(name)) {
    throw new UsageError(
      `--completion: expected a name of letters, digits and . + - _ as in ${shell}:recv, not '${name}'`,
    );
  }
  return shells[shell]!({ ...completable(usage), name }).join("\n");
}

function completable({ flags, ...usage }: Usage<Flags>): Omit<Completable, "name"> {
  const commands = Object.entries(usage.commands ?? {});
  const ofCommands = new Set(commands.flatMap(([, { flags = [] }]) => flags));
  const completed = (keys: readonly string[]) => keys.map((key) => completedOf(key, flags[key]!));
  return {
    flags: [
      ...completed(Object.keys(flags).filter((key) => !ofCommands.has(key))),
      completedOf("completion", completionFlag),
      { names: ["-h", "--help"], about: "show this help", choices: [] },
    ],
    words: !!usage.arguments,
    commands: commands.map(([name, command]) => ({
      name,
      about: command.about,
      words: !!command.arguments,
      flags: completed(command.flags ?? []),
    })),
  };
}

function completedOf(key: string, { about, short, value, choices = [] }: Flag<unknown>): Completed {
  return { names: [...short ? [`-${short}`] : [], long(key)], about, value, choices };
}

/** Bash shows no descriptions. */
function bash({ name, flags, commands }: Completable): string[] {
  const every = [...flags, ...commands.flatMap(({ flags }) => flags)];
  const spelled = (flags: Completed[]) => flags.flatMap(({ names }) => names);
  const taking = [...new Set(spelled(every.filter(({ value }) => value)))].join("|");
  const cases = [...new Set(every.flatMap(bashCase))];
  const names = commands.map(({ name }) => name);
  const several = commands.length > 0;
  const called = `_complete_${name.replace(/\W/g, "_")}`;
  return [
    `# Completion of ${name} in bash.`,
    `${called}() {`,
    `  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]}`,
    `  local words="" flags="${spelled(flags).join(" ")}" command="" i`,
    "  COMPREPLY=()",
    "  for ((i = 1; i < COMP_CWORD; i++)); do",
    `    case \${COMP_WORDS[i]} in`,
    `      ${taking}) [[ \${COMP_WORDS[i + 1]} == = ]] && ((i++)); ((i++)) ;;`,
    "      --) return ;;",
    ...several ? [`      ${names.join("|")}) command=\${command:-\${COMP_WORDS[i]}} ;;`] : [],
    "    esac",
    "  done",
    "  # Bash takes --flag=value apart.",
    `  if [[ $cur == = ]]; then cur=""`,
    `  elif [[ $prev == = ]]; then prev=\${COMP_WORDS[COMP_CWORD - 2]}`,
    "  fi",
    "  case $prev in",
    ...cases,
    `    ${taking}) return ;;`,
    "  esac",
    ...!several ? [] : [
      "  case $command in",
      ...commands.map((one) => `    ${one.name}) flags+=" ${spelled(one.flags).join(" ")}" ;;`),
      `    *) words="${names.join(" ")}" ;;`,
      "  esac",
    ],
    "  [[ $cur == -* ]] && words=$flags",
    `  COMPREPLY=($(compgen -W "$words" -- "$cur"))`,
    "}",
    `complete -F ${called} ${name}`,
  ];
}

/** What follows a flag; nothing for one whose values are not known. */
function bashCase({ names, value, choices }: Completed): string[] {
  const action = choices.length > 0
    ? `COMPREPLY=($(compgen -W "${choices.join(" ")}" -- "$cur"))`
    : value === "FILE"
    ? "compopt -o default"
    : value === "DIR"
    ? "compopt -o dirnames"
    : undefined;
  return action ? [`    ${names.join("|")}) ${action}; return ;;`] : [];
}

/** As a file `_NAME` in a directory of `$fpath`, or read by `source`. */
function zsh({ name, flags, words, commands }: Completable): string[] {
  const specs = (flags: Completed[], words: boolean) => [
    ...flags.map((flag) => `    ${zshSpec(flag)}`),
    // Not ' ' for no matches: with it zsh only lists the one flag that fits.
    ...words ? ["    '*:word:()'"] : [],
  ];
  const body = commands.length === 0
    ? ["  local -a all=(", ...specs(flags, words), "  )", "  _arguments -s -S : $all"]
    : [
      `  local curcontext=$curcontext state line`,
      "  local -a all=(",
      ...specs(flags, false),
      "  )",
      "  local -a commands=(",
      ...commands.map(({ name, about }) =>
        `    ${quoted(`${name}:${about.replaceAll("\\", "\\\\")}`)}`
      ),
      "  )",
      "  _arguments -s -S -C : $all '1: :->command' '*:: :->rest' && return",
      "  case $state in",
      "  command) _describe command commands ;;",
      "  rest)",
      "    case $words[1] in",
      ...commands.flatMap((command) => [
        `    ${command.name}) all+=(`,
        ...specs(command.flags, command.words),
        "    ) ;;",
      ]),
      "    esac",
      "    _arguments -s -S : $all",
      "  esac",
    ];
  return [
    `#compdef ${name}`,
    `# Completion of ${name} in zsh.`,
    `_${name}() {`,
    ...body,
    "}",
    `if [[ $funcstack[1] == _${name} ]]; then _${name} "$@"; else compdef _${name} ${name}; fi`,
  ];
}

/** For `_arguments` (zshcompsys(1)). */
function zshSpec({ names, about, value, choices }: Completed): string {
  const action = choices.length > 0
    ? `(${choices.join(" ")})`
    : value === "FILE"
    ? "_files"
    : value === "DIR"
    ? "_files -/"
    : " ";
  const after = `[${about.replace(/[\\\]]/g, "\\$&")}]` +
    (value ? `:${value.replaceAll(":", "\\:")}:${action}` : "");
  const forms = names.map((name) => name + (!value ? "" : name.startsWith("--") ? "=" : "+"));
  if (forms.length === 1) return quoted(forms[0] + after);
  return `${quoted(`(${names.join(" ")})`)}{${forms.join(",")}}${quoted(after)}`;
}

function fish({ name, flags, commands }: Completable): string[] {
  const complete = `complete -c ${name}`;
  const called = `__complete_${name.replace(/\W/g, "_")}_command`;
  const every = [...flags, ...commands.flatMap(({ flags }) => flags)];
  const taking = new Set(every.flatMap(({ names, value }) => value ? names : []));
  const chosen = commands.length === 0 ? [] : [
    `function ${called}`,
    "  set -l value no",
    "  for word in (commandline -opc)[2..]",
    "    if test $value = yes",
    "      set value no",
    "      continue",
    "    end",
    "    switch $word",
    `      case ${[...taking].join(" ")}`,
    "        set value yes",
    `      case ${commands.map(({ name }) => name).join(" ")}`,
    "        echo $word",
    "        return",
    "    end",
    "  end",
    "end",
  ];
  return [
    `# Completion of ${name} in fish.`,
    ...chosen,
    `${complete} -e`,
    `${complete} -f`,
    ...flags.map((flag) => `${complete} ${fishOption(flag)}`),
    ...commands.flatMap(({ name, about, flags }) => [
      `${complete} -n 'test -z (${called})' -a ${name} -d ${quotedForFish(about)}`,
      ...flags.map((flag) => `${complete} -n 'contains ${name} (${called})' ${fishOption(flag)}`),
    ]),
  ];
}

function fishOption({ names, about, value, choices }: Completed): string {
  const spelled = names.map((name) => name.replace(/^--/, "-l ").replace(/^-(?=\w$)/, "-s "));
  const action = choices.length > 0
    ? [`-x -a '${choices.join(" ")}'`]
    : value === "FILE"
    ? ["-r -F"]
    : value === "DIR"
    ? ["-x -a '(__fish_complete_directories)'"]
    : value
    ? ["-x"]
    : [];
  return [...spelled, ...action, `-d ${quotedForFish(about)}`].join(" ");
}

/** A word in bash and zsh. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function quotedForFish(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}
