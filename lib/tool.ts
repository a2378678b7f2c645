/**
 * The frame around every tool: configuration, signals, ordered shutdown, exit code.
 * @module
 */
import { type Flags, parseFlags, type Usage, UsageError, type Values } from "./flags.ts";
import { createLog, type Log, type LogFlags, logFlags, writeError } from "./log.ts";
import { askHealth, serveStatus, statusFlags, type StatusValues } from "./status.ts";
import { printable } from "./text.ts";
import { withoutPassword } from "./url.ts";
import { waitingFor } from "./wait.ts";

/** What a tool's main function gets. */
export interface Tool<F extends Flags> {
  /** The configuration. */
  flags: Values<F> & Values<LogFlags>;
  /** The positional arguments. */
  words: string[];
  /** The command that was chosen; `""` when the tool has none. */
  command: string;
  /** Aborts at the first SIGINT or SIGTERM, at {@linkcode Tool.fail}, or when stdout is closed: stop taking work and return. */
  signal: AbortSignal;
  /** Stops the tool as a signal would, and has it end with this error. */
  fail: (error: unknown) => void;
  /** Diagnostics, to stderr. */
  log: Log;
  /** Writes a line for people to stdout; resolves when it is written, so that a slow reader slows the tool down. */
  print: (line: string) => Promise<void>;
}

/** How a tool is run. */
export interface ToolUsage<F extends Flags> extends Omit<Usage<F>, "name"> {
  /** Whether the process ends by itself, once nothing is left to do, rather than by an exit (false). */
  endsByItself?: boolean;
  /** Whether it runs until it is stopped: it then has `--health`, and `--status-port` unless it has a `--port`. */
  longRunning?: boolean;
  /** Seconds that the tool has to finish what it holds once it is cancelled (10). */
  stopLimit?: (flags: Values<F>) => number;
}

/** Time that a cancelled tool has to finish what it holds unless it says otherwise, in seconds. */
const SHUTDOWN_LIMIT = 10;

/** Milliseconds within which two signals are one: at a terminal a Ctrl-C reaches the tool twice, directly and by way of `deno task`. */
const ONE_KEY_PRESS = 200;

/** Longest line at a terminal, in characters: a body may have any length. */
const LONGEST_LINE = 10_000;

/** Whether a failure is shown with its stack. */
let verbose = false;
/** Resolves when the log is written. */
let written: Log["written"] = () => Promise.resolve();

/**
 * Runs a tool and exits the process: 0 done or cancelled, 1 the work failed, 2 wrong usage.
 * Does nothing when the entry file is imported rather than run.
 *
 * @param meta the entry file's `import.meta`
 * @param usage the command line, to which the flags about logging are added
 * @param main the tool's work; returns when done or soon after `signal` aborts, and throws when the work failed
 */
export async function runTool<F extends Flags>(
  meta: ImportMeta,
  usage: ToolUsage<F>,
  main: (tool: Tool<F>) => Promise<void>,
): Promise<void> {
  if (!meta.main) return;
  try {
    await run(nameOf(meta), usage, main);
  } catch (error) {
    await written();
    exit(error);
  }
  await written();
  // libzmq sends what it still holds when the process ends by itself, but not when it exits.
  if (usage.endsByItself) Deno.unrefTimer(setTimeout(() => Deno.exit(0), SHUTDOWN_LIMIT * 1000));
  else Deno.exit(0);
}

/** The name of an executable is the user's choice; that of a script is that of its file, as in the task. */
function nameOf(meta: ImportMeta): string {
  if (Deno.build.standalone) return /([^/\\]+?)(?:\.exe)?$/.exec(Deno.execPath())![1]!;
  const [, script = "tool"] = /([^/\\]+)\.[jt]s$/.exec(meta.filename ?? "") ?? [];
  return script.replaceAll("_", "-");
}

async function run<F extends Flags>(
  name: string,
  usage: ToolUsage<F>,
  main: (tool: Tool<F>) => Promise<void>,
): Promise<void> {
  const { longRunning } = usage;
  const added = { ...longRunning ? statusFlags(usage.flags) : {}, ...logFlags };
  // What is needed for work is not needed for this question.
  const asks = longRunning && Deno.args.includes("--health");
  const words = asks ? usage.arguments?.replace(/^<(.*)>$/, "[$1]") : usage.arguments;
  const whole = { ...usage, name, arguments: words, flags: { ...usage.flags, ...added } };
  const parsed = await parseFlags(whole, Deno.args, (name) => Deno.env.get(name));
  const stop = new AbortController();
  const print = printer(stop);
  if ("help" in parsed) return await print(parsed.help.trimEnd());
  if ("completion" in parsed) {
    const { completionScript } = await import("./completion.ts");
    return await print(completionScript(whole, parsed.completion));
  }
  const flags = parsed.flags as Values<F> & Values<LogFlags>;
  if (longRunning && flags.health) {
    await askHealth(flags as unknown as StatusValues);
    return await print("ready");
  }
  const log = createLog({ name, level: flags.logLevel, format: flags.logFormat });
  verbose = flags.logLevel === "debug";
  written = log.written;
  stopOnSignals(stop, usage.stopLimit?.(flags) ?? SHUTDOWN_LIMIT, log);
  globalThis.addEventListener("error", (event) => exit(event.error));
  globalThis.addEventListener("unhandledrejection", (event) => exit(event.reason));
  let failure: { error: unknown } | undefined;
  function fail(error: unknown) {
    if (!stop.signal.aborted) failure = { error };
    stop.abort(error);
  }
  await using _status = longRunning
    ? await serveStatus(flags as unknown as StatusValues, { log, signal: stop.signal })
    : undefined;
  try {
    await main({ ...parsed, flags, signal: stop.signal, fail, log, print });
  } catch (error) {
    if (!failure && error !== stop.signal.reason) throw error;
  }
  if (failure) throw failure.error;
}

function printer(stop: AbortController): (line: string) => Promise<void> {
  const encoder = new TextEncoder();
  const terminal = Deno.stdout.isTerminal();
  let last: Promise<void> = Promise.resolve();
  async function write(line: string) {
    let bytes = encoder.encode((terminal ? atTerminal(line) : line) + "\n");
    while (bytes.length > 0) bytes = bytes.subarray(await Deno.stdout.write(bytes));
  }
  return async (line) => {
    try {
      await (last = last.then(() => write(line)));
    } catch (error) {
      // `recv | head -1`: without a reader there is no work left, as with SIGPIPE.
      stop.abort(error);
      throw stop.signal.reason;
    }
  };
}

/** Cut, and the tutorial's marks in colour: what waits in cyan, what is done in green. */
function atTerminal(line: string): string {
  const short = line.length <= LONGEST_LINE
    ? line
    : `${line.slice(0, LONGEST_LINE)}... (${line.length} characters)`;
  if (Deno.noColor) return short;
  return short
    .replace(/^ \[x\] Done.*/, "\x1b[32m$&\x1b[0m")
    .replace(/^ \[[x.]\]/, "\x1b[32m$&\x1b[0m")
    .replace(/^ \[\*\]/, "\x1b[36m$&\x1b[0m");
}

function stopOnSignals(stop: AbortController, limit: number, log: Log): void {
  let first = 0;
  const onSignal = () => {
    first ||= Date.now();
    if (Date.now() - first > ONE_KEY_PRESS) exit("Stopped at once, by a second signal");
    stop.abort();
  };
  Deno.addSignalListener("SIGINT", onSignal);
  Deno.addSignalListener("SIGTERM", onSignal);
  stop.signal.addEventListener("abort", () => {
    log.debug("Stopping");
    const watchdog = setTimeout(
      () => exit(`Cannot stop within ${limit} s: still ${waitingFor() || "at work"}`),
      limit * 1000,
    );
    Deno.unrefTimer(watchdog);
  });
}

/** Says why, in one line, and ends the process. */
function exit(error: unknown): never {
  const message = error instanceof Error ? error.message || error.name : String(error);
  const line = withoutPassword(message).replace(/\s*\n\s*/g, "; ");
  writeError(printable(line, LONGEST_LINE) + "\n");
  if (verbose && error instanceof Error) writeError(withoutPassword(error.stack ?? "") + "\n");
  Deno.exit(error instanceof UsageError ? 2 : 1);
}
