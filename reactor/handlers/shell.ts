/**
 * `shell` handlers: a command, whose last argument is the event. No shell interprets either of them.
 * @module
 */
import { BadHandler, type Execution, type Outcome } from "./execution.ts";
import { runProcess } from "./subprocess.ts";

/** Bytes that one argument may have under Linux: MAX_ARG_STRLEN is 128 KiB, the final zero byte included. */
const ARGUMENT_LIMIT = 131_071;

/**
 * Runs the command and waits for its end.
 *
 * @param context `directory` is where it runs; `signal` kills it
 * @throws {BadHandler} when the command cannot be run, or the event is too large for an argument
 * @throws the signal's reason when that aborts
 */
export async function runShell(
  { entry, event, trace }: Execution,
  { directory, signal }: { directory: string; signal: AbortSignal },
): Promise<Outcome> {
  const size = new TextEncoder().encode(event).length;
  if (size > ARGUMENT_LIMIT) {
    throw new BadHandler(
      `Cannot pass the event to a command: it has ${size} bytes, an argument at most ${ARGUMENT_LIMIT}`,
    );
  }
  const words = splitWords(entry.handler);
  const { code, stdout, stderr } = await runProcess([...words, event], {
    cwd: directory,
    env: entry.env,
    trace,
    signal,
  });
  const outcome = { code, data: stdout, log: stderr };
  if (code === 0) return { status: "done", ...outcome };
  const lastLine = stderr.trimEnd().split("\n").at(-1);
  const error = `${words[0]} ended with code ${code}${lastLine ? `: ${lastLine}` : ""}`;
  return { status: "failed", ...outcome, error: error.slice(0, 1000) };
}

/**
 * Splits a command into words as a shell does, quotes and backslashes included, but interprets nothing else.
 *
 * @throws {BadHandler} when a quote is not closed, or there is no word
 */
export function splitWords(command: string): string[] {
  const words: string[] = [];
  const part = /'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^\s'"\\]+)|(\s+)|(.)/gsy;
  let word: string | undefined;
  for (const [, single, double, escaped, plain, space, bad] of command.matchAll(part)) {
    if (bad !== undefined) throw new BadHandler(`Cannot use the command: ${bad} is not closed`);
    if (space !== undefined) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? "") +
        (single ?? double?.replace(/\\(["\\])/g, "$1") ?? escaped ?? plain ?? "");
    }
  }
  if (word !== undefined) words.push(word);
  if (words.length === 0) throw new BadHandler("Cannot use the command: it is empty");
  return words;
}
