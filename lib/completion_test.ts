/**
 * Completion in the shells themselves, at a terminal (script(1)). Where zsh or fish is not installed its tests say so and end; in CI they
 * fail.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { completionScript } from "./completion.ts";
import { parseFlags, UsageError } from "./flags.ts";
import { eventually, root, start } from "./testing.ts";

/** How each shell is started with a file of commands, and what its user has for a tool: it prints its words. */
const shells = {
  bash: {
    command: "bash --noprofile --rcfile rc -i",
    rc: `PS1="ready> "; probe() { printf "\\n("; printf "<%s>" "$@"; echo ")"; }`,
  },
  zsh: {
    command: "ln -s rc .zshrc; ZDOTDIR=$PWD zsh -i",
    rc: `PS1="ready> "; probe() { printf "\\n("; printf "<%s>" "$@"; echo ")"; }
COLUMNS=1000 LISTMAX=1000; autoload -Uz compinit; compinit -u -D`,
  },
  fish: {
    command: "fish --no-config -i -C 'source rc'",
    rc: `function fish_prompt; echo -n "ready> "; end
function probe; printf "\\n("; printf "<%s>" $argv; echo ")"; end`,
  },
};
type Shell = keyof typeof shells;

/** Opens a terminal with the shell in a directory of its own; undefined when it is not installed. */
async function openShell(shell: Shell, script: string) {
  if (!await installed(shell)) return;
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  await Deno.writeTextFile(`${directory}/rc`, `${shells[shell].rc}\n${script}\n`);
  await Deno.writeTextFile(`${directory}/my events.ndjson`, "");
  await Deno.mkdir(`${directory}/my folder`);
  const terminal = stack.use(start(["-q", "-c", shells[shell].command, "/dev/null"], {
    command: "script",
    cwd: directory,
    env: { TERM: "xterm", HOME: directory },
  }));
  const input = terminal.openInput();
  const encoder = new TextEncoder();
  await terminal.seen(/ready> /);
  const owned = stack.move();
  return {
    type: (keys: string) => input.write(encoder.encode(keys)),
    /** What the terminal shows, without its control sequences. */
    // deno-lint-ignore no-control-regex
    shown: () => terminal.output.stdout.replace(/\x1b\[[\d;?]*[A-Za-z]|\r/g, ""),
    async [Symbol.asyncDispose]() {
      await input.write(encoder.encode("\x03exit\n"));
      await terminal.ended(); // the shell, too, which may write a history into the directory
      await owned.disposeAsync();
    },
  };
}

async function installed(shell: string): Promise<boolean> {
  try {
    await new Deno.Command(shell, { args: ["-c", "true"] }).output();
    return true;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (Deno.env.get("CI")) assert.fail(`${shell} is not installed`);
  console.log(`${shell} is not installed: not tested`);
  return false;
}

/** The script of a real tool, for the name `probe`. */
async function scriptOf(tool: string, shell: Shell): Promise<string> {
  const args = ["run", "--no-prompt", tool, "--completion", `${shell}:probe`];
  const { code, stdout, stderr } = await start(args, { cwd: root }).ended();
  assert.equal(code, 0, stderr);
  return stdout;
}

/** What is typed at the terminal, a tool's name left out, and the words that the tool gets. */
type Typed = Record<string, string[]>;

async function check(shell: Shell, tool: string, typed: Typed) {
  await using terminal = await openShell(shell, await scriptOf(tool, shell));
  if (terminal) await complete(shell, terminal, typed);
}

async function complete(
  shell: Shell,
  terminal: { type(keys: string): Promise<void>; shown(): string },
  typed: Typed,
) {
  const keys = Object.keys(typed);
  for (const [index, line] of keys.entries()) {
    await terminal.type(`probe ${line}\n`);
    const lines = (): RegExpExecArray[] => [...terminal.shown().matchAll(/^\(<(.*)>\)$/gm)];
    await eventually(() => assert(lines()[index], `${shell}: '${line}' in\n${terminal.shown()}`));
    // zsh completes --flag=, which the value follows, and takes the / of a directory away again.
    const words = lines()[index]![1]!.replace(/(?<=^|<)(--[\w-]+)=/g, "$1><").split("><").map((
      word,
    ) => word.replace(/\/$/, ""));
    assert.deepEqual(words, typed[line], `${shell}: ${line}`);
  }
}

for (const shell of Object.keys(shells) as Shell[]) {
  Deno.test(`${shell} completes flags, their values and files`, () =>
    check(shell, "consumers/echo/send.ts", {
      "--fi\tmy\\ ev\t": ["--file", "my events.ndjson"],
      "--file=my\\ ev\t": ["--file", "my events.ndjson"],
      "--queue-type q\t": ["--queue-type", "quorum"],
      "--queue-type=q\t": ["--queue-type", "quorum"],
      "--queue-\tcl\t": ["--queue-type", "classic"],
      "--log-l\td\t": ["--log-level", "debug"],
      "-l w\t": ["-l", "warning"],
      "--ra\t5": ["--rate", "5"],
      "--comp\tfi\t": ["--completion", "fish"],
      "--he\t": ["--help"],
      // What only the user knows.
      "my\t": ["my"],
      "--amqp-url my\t": ["--amqp-url", "my"],
      "hello --ra\t5": ["hello", "--rate", "5"],
      "-- --ra\t": ["--", "--ra"],
    }));

  Deno.test(`${shell} completes commands, and the flags of the command`, () =>
    check(shell, "consumers/dead-letters/dead_letters.ts", {
      "re\t": ["replay"],
      "--queue purge l\t": ["--queue", "purge", "list"],
      "--queue=purge sh\t": ["--queue", "purge", "show"],
      "show --lim\t5": ["show", "--limit", "5"],
      "show --lim\t5 --log-f\tj\t": ["show", "--limit", "5", "--log-format", "json"],
      "--queue a purge --al\t": ["--queue", "a", "purge", "--all"],
      // It has no such flag.
      "list --al\t": ["list", "--al"],
      "--al\t": ["--al"],
      "list re\t": ["list", "re"],
      "list -- --js\t": ["list", "--", "--js"],
    }));

  Deno.test(`${shell} completes directories`, () =>
    check(shell, "prototypes/elastic-workers/worker.ts", {
      "--targ\tmy\t": ["--target", "my folder"],
      "--state-f\tmy\\ ev\t": ["--state-file", "my events.ndjson"],
    }));
}

Deno.test("zsh finds the script as a file in a directory of $fpath", async () => {
  const script = await scriptOf("consumers/dead-letters/dead_letters.ts", "zsh");
  const file = `cat >_probe <<'END'\n${script}\nEND`;
  await using terminal = await openShell("zsh", `${file}\nfpath=($PWD $fpath); compinit -u -D`);
  const typed = { "sh\t": ["show"], "show --lim\t5": ["show", "--limit", "5"] };
  if (terminal) await complete("zsh", terminal, typed);
});

Deno.test("--completion needs nothing that the work needs, and is a word where words are", async () => {
  const usage = { name: "probe", about: "", arguments: "<words...>", flags: {} };
  const parse = (...args: string[]) => parseFlags(usage, args, () => undefined);
  assert.deepEqual(await parse("--completion", "bash"), { completion: "bash" });
  const parsed = await parse("--", "--completion", "bash");
  assert("words" in parsed);
  assert.deepEqual(parsed.words, ["--completion", "bash"]);
});

/** Descriptions with all that a shell could take for something else. */
const descriptions = fc.uniqueArray(
  fc.array(
    fc.oneof(
      fc.constantFrom(
        ...`'"\`$()[]{}<>:;|&\\!#%*?~=@^,.-+/ `,
        "$(id)",
        "\\'",
        "\\:",
        "%F",
        "é",
        "→",
      ),
      fc.constantFrom("a", "B", "7"),
    ),
    { minLength: 1, maxLength: 20 },
  ).map((parts) => parts.join("").replace(/ +/g, " ").trim()).filter((text) => text !== ""),
  { minLength: 100, maxLength: 100 },
);

for (const shell of ["zsh", "fish"] as const) {
  Deno.test(`${shell} shows any description as it is`, () =>
    fc.assert(
      fc.asyncProperty(descriptions, async (abouts) => {
        const flags = Object.fromEntries(
          abouts.map((about, index) => [`x${index}`, { about, default: false }]),
        );
        const commands = Object.fromEntries(
          abouts.map((about, index) => [`y${index}`, { about: `${about}.` }]),
        );
        const usage = { name: "probe", about: "", flags, commands };
        await using terminal = await openShell(shell, completionScript(usage, shell));
        if (!terminal) return;
        for (const [typed, end] of [["--x", ""], ["y", "."]] as const) {
          if (shell === "fish") await terminal.type(`echo; complete -C "probe ${typed}"\n`);
          else await terminal.type(`probe ${typed}\t\x15`);
          await eventually(() => {
            const lines = terminal.shown().split("\n")
              .map((line) => line.replace(/\t| +-- /, "|").trim());
            for (const [index, about] of abouts.entries()) {
              const line = `${typed}${index}|${about}${end}`;
              assert(lines.includes(line), `${line} in\n${lines.join("\n")}`);
            }
          }, 5000);
        }
      }),
      { numRuns: 1, endOnFailure: true },
    ));
}

Deno.test("completionScript() refuses an unknown shell, and a name that a shell could take for something else", () => {
  const usage = { name: "probe", about: "", flags: {} };
  for (
    const asked of ["", "csh", "toString", "bash:", "bash:a b", "bash:-x", "zsh:$(id)", "fish:a;b"]
  ) {
    assert.throws(() => completionScript(usage, asked), UsageError, asked);
  }
});
