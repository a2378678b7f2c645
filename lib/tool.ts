/**
 * The frame around every tool: configuration, signals, ordered shutdown, exit code.
 * @module
 */
import { type Flags, parseFlags, type Usage, UsageError, type Values } from "./flags.ts";
import { type Log, logFlags, startLogging, writeError } from "./log.ts";
import { withoutPassword } from "./url.ts";

/** What a tool's main function gets. */
export interface Tool<F extends Flags> {
  /** The configuration. */
  flags: Values<F> & Values<typeof logFlags>;
  /** The positional arguments. */
  words: string[];
  /** Aborts at the first SIGINT or SIGTERM, or when stdout is closed: stop taking work and return. */
  signal: AbortSignal;
  /** Diagnostics, to stderr. */
  log: Log;
  /** Writes a line for people to stdout; resolves when it is written, so that a slow reader slows the tool down. */
  print: (line: string) => Promise<void>;
}

/** Time that a cancelled tool has to finish what it holds, in milliseconds. */
const SHUTDOWN_LIMIT = 10_000;

/**
 * Milliseconds within which signals are one: at a terminal Ctrl-C goes to `deno task` and to the tool, and `deno task` passes it on
 * to the tool once more.
 */
const ONE_KEY_PRESS = 200;

/**
 * Runs a tool and exits the process: 0 done or cancelled, 1 the work failed, 2 wrong usage.
 * Does nothing when the entry file is imported rather than run.
 *
 * @param meta the entry file's `import.meta`
 * @param usage the command line, to which the flags about logging are added; with `endsByItself` the process is not ended but ends as
 * soon as nothing is left to do
 * @param main the tool's work; returns when done or soon after `signal` aborts, and throws when the work failed
 */
export async function runTool<F extends Flags>(
  meta: ImportMeta,
  usage: Omit<Usage<F>, "name"> & { endsByItself?: boolean },
  main: (tool: Tool<F>) => Promise<void>,
): Promise<void> {
  if (!meta.main) return;
  const name = meta.filename?.match(/([^/\\]+)\.[jt]s$/)?.[1] ?? "tool";
  try {
    await run(name, usage, main);
  } catch (error) {
    await written();
    fail(error);
  }
  await written();
  // What libzmq still has to send it sends when the process ends by itself, and not when it is ended.
  if (usage.endsByItself) Deno.unrefTimer(setTimeout(() => Deno.exit(0), SHUTDOWN_LIMIT));
  else Deno.exit(0);
}

async function run<F extends Flags>(
  name: string,
  usage: Omit<Usage<F>, "name">,
  main: (tool: Tool<F>) => Promise<void>,
): Promise<void> {
  const parsed = parseFlags(
    { ...usage, name, flags: { ...usage.flags, ...logFlags } },
    Deno.args,
    (name) => Deno.env.get(name),
  );
  const stop = new AbortController();
  const print = printer(stop);
  try {
    if ("help" in parsed) return await print(parsed.help.trimEnd());
    const flags = parsed.flags as Values<F> & Values<typeof logFlags>;
    const log = startLogging(name, flags.logLevel, flags.logFormat);
    verbose = flags.logLevel === "debug";
    written = log.written;
    stopOnSignals(stop, log);
    globalThis.addEventListener("error", (event) => fail(event.error));
    globalThis.addEventListener("unhandledrejection", (event) => fail(event.reason));
    await main({ flags, words: parsed.words, signal: stop.signal, log, print });
  } catch (error) {
    if (!stop.signal.aborted || error !== stop.signal.reason) throw error;
  }
}

function printer(stop: AbortController): (line: string) => Promise<void> {
  const stdout = Deno.stdout.writable.getWriter();
  const encoder = new TextEncoder();
  return async (line) => {
    try {
      await stdout.write(encoder.encode(line + "\n"));
    } catch (error) {
      // `recv | head -1`: without a reader there is no work left, as with SIGPIPE.
      stop.abort(error);
      throw stop.signal.reason;
    }
  };
}

function stopOnSignals(stop: AbortController, log: Log): void {
  let first = 0;
  const onSignal = () => {
    first ||= Date.now();
    if (Date.now() - first > ONE_KEY_PRESS) fail("Stopped at once, by a second signal");
    stop.abort();
  };
  Deno.addSignalListener("SIGINT", onSignal);
  Deno.addSignalListener("SIGTERM", onSignal);
  stop.signal.addEventListener("abort", () => {
    log.debug("Stopping");
    const limit = SHUTDOWN_LIMIT / 1000;
    const watchdog = setTimeout(
      () => fail(`Cannot stop within ${limit} s: still ${[...underway].join(", ") || "at work"}`),
      SHUTDOWN_LIMIT,
    );
    Deno.unrefTimer(watchdog);
  });
}

/** Whether a failure is shown with its stack. */
let verbose = false;
/** Resolves when the log is written. */
let written: Log["written"] = () => Promise.resolve();

const underway = new Set<string>();

/** Names what is being waited for, such as `closing the broker connection`, so that the time limit can say what hung. */
export async function during<T>(what: string, work: Promise<T>): Promise<T> {
  underway.add(what);
  try {
    return await work;
  } finally {
    underway.delete(what);
  }
}

/** Waits for work for `ms` milliseconds at most: a server that hangs must not keep a tool from ending. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  const expired = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => expired.resolve(undefined), ms);
  try {
    return await Promise.race([work, expired.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function fail(error: unknown): never {
  const message = error instanceof Error ? error.message || error.name : String(error);
  writeError(withoutPassword(message).replace(/\s*\n\s*/g, "; ") + "\n");
  if (verbose && error instanceof Error) writeError(withoutPassword(error.stack ?? "") + "\n");
  Deno.exit(error instanceof UsageError ? 2 : 1);
}

/** Waits `ms` milliseconds; rejects with the signal's reason as soon as it aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}
