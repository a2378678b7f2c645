/**
 * A handler as a process with a group of its own: when it has ended or its time is over, nothing of it is left.
 * @module
 */
import { OUTPUT_LIMIT } from "./drivers.ts";
import { BadHandler } from "./handler_file.ts";

/** What a process did. */
export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * Gives a command its group, and has the kernel kill it when this process dies: nobody else would, and the next worker runs the task again.
 * It takes a fraction of what `detached` takes: Deno then forks, which copies the page tables of a large process and blocks everything for some
 * milliseconds.
 */
const WRAPPER = ["--pdeathsig", "KILL", "--", "setsid", "--"];
let wrapperWorks: Promise<boolean> | undefined;
function hasWrapper(): Promise<boolean> {
  return wrapperWorks ??= new Deno.Command("setpriv", {
    args: [...WRAPPER, "true"],
    stdout: "null",
    stderr: "null",
  }).output().then(({ success }) => success, () => false);
}

/** Time for pipes to close after the process and its group have ended, in milliseconds. */
const PIPES_LIMIT = 1000;

/**
 * Runs a command.
 *
 * @throws {BadHandler} when it cannot be started
 * @throws the signal's reason when that aborts, after the group was killed
 */
export async function runProcess(
  [command = "", ...args]: string[],
  { cwd, input, signal, limit = OUTPUT_LIMIT }: {
    cwd: string;
    input?: string;
    signal: AbortSignal;
    limit?: number;
  },
): Promise<Ended> {
  const wrapped = await hasWrapper();
  signal.throwIfAborted();
  const child = start();
  const kill = (pid: number) => {
    try {
      Deno.kill(pid, "SIGKILL");
    } catch {
      // Nobody is left.
    }
  };
  const killGroup = () => kill(-child.pid);
  const killAll = () => {
    kill(child.pid); // which may not have a group yet
    killGroup();
  };
  signal.addEventListener("abort", killAll);
  try {
    const pipes = [collect(child.stdout, limit), collect(child.stderr, limit)] as const;
    if (input !== undefined) feed(child.stdin, input);
    const { code } = await child.status;
    killGroup();
    // A process that has left the group may still hold the pipes.
    const timer = setTimeout(() => pipes.forEach((pipe) => pipe.cancel()), PIPES_LIMIT);
    const [stdout, stderr] = await Promise.all(pipes.map((pipe) => pipe.text));
    clearTimeout(timer);
    signal.throwIfAborted();
    if ((code === 126 || code === 127) && stderr!.startsWith("setsid: ")) {
      throw new BadHandler(`Cannot run '${command}': ${stderr!.trim()}`);
    }
    return { code, stdout: stdout!, stderr: stderr! };
  } finally {
    signal.removeEventListener("abort", killAll);
  }

  function start() {
    try {
      return new Deno.Command(wrapped ? "setpriv" : command, {
        args: wrapped ? [...WRAPPER, command, ...args] : args,
        cwd,
        detached: !wrapped,
        stdin: input === undefined ? "null" : "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    } catch (error) {
      throw new BadHandler(`Cannot run '${command}': ${(error as Error).message}`);
    }
  }
}

async function feed(stdin: WritableStream<Uint8Array>, input: string) {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  } catch {
    // It ended without reading.
  }
}

/** Reads to the end, and keeps the beginning. */
function collect(stream: ReadableStream<Uint8Array>, limit: number) {
  const reader = stream.getReader();
  const text = (async () => {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let kept = 0;
    let size = 0;
    while (true) {
      const { value, done } = await reader.read();
      if (done) break;
      size += value.length;
      if (kept >= limit) continue;
      const part = value.slice(0, limit - kept);
      kept += part.length;
      parts.push(part);
    }
    const start = await new Blob(parts).text();
    return size > limit ? start + cutNote(size) : start;
  })();
  return { text, cancel: () => reader.cancel() };
}

/** What stands at the end of an output that was cut. */
function cutNote(size: number): string {
  return `\n[cut: ${size} bytes in all]`;
}

/**
 * Splits a command as a shell does, quotes included, but interprets nothing else.
 *
 * @throws {BadHandler} when a quote is not closed
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
