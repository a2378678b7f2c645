/**
 * A handler as a process with a process group of its own: when it has ended or its time is over, the whole group is killed.
 * @module
 */
import type { Traced } from "@event-sink/lib";
import { BadHandler, OUTPUT_LIMIT } from "./execution.ts";

/** What a process has done. */
export interface ProcessResult {
  /** Its exit code. */
  code: number;
  stdout: string;
  stderr: string;
}

/** How to run a process. */
export interface ProcessOptions {
  /** Its working directory. */
  cwd: string;
  /** Environment variables that it sees besides PATH, HOME and LANG; none by default. */
  env?: string[];
  /**
   * The trace that it belongs to, which it sees as TRACEPARENT and TRACESTATE
   * (https://opentelemetry.io/docs/specs/otel/context/env-carriers/).
   */
  trace?: Traced;
  /** What it reads from standard input; nothing without. */
  input?: string;
  /** Kills it and its group. */
  signal: AbortSignal;
  /** Bytes of stdout and of stderr that are kept; {@linkcode OUTPUT_LIMIT} by default. */
  limit?: number;
}

/** Milliseconds that pipes may stay open after the process and its group have ended. */
const PIPES_LIMIT = 1000;

/**
 * Runs a command and waits for its end.
 *
 * @throws {BadHandler} when it cannot be started
 * @throws the signal's reason when that aborts, after the group was killed
 */
export async function runProcess(
  command: string[],
  { cwd, env = [], trace, input, signal, limit = OUTPUT_LIMIT }: ProcessOptions,
): Promise<ProcessResult> {
  const wrapped = await hasWrapper();
  signal.throwIfAborted();
  const child = spawn(command, {
    cwd,
    env: environment(env, trace),
    wrapped,
    withInput: input !== undefined,
  });
  const killAll = () => {
    kill(child.pid); // it may not have a group yet
    kill(-child.pid);
  };
  signal.addEventListener("abort", killAll);
  try {
    const pipes = [collect(child.stdout, limit), collect(child.stderr, limit)] as const;
    if (input !== undefined) feed(child.stdin, input);
    const { code } = await child.status;
    kill(-child.pid);
    // A process that has left the group may still hold the pipes.
    const timer = setTimeout(() => pipes.forEach((pipe) => pipe.cancel()), PIPES_LIMIT);
    const [stdout = "", stderr = ""] = await Promise.all(pipes.map((pipe) => pipe.text));
    clearTimeout(timer);
    signal.throwIfAborted();
    if (wrapped && (code === 126 || code === 127) && stderr.startsWith("setsid: ")) {
      throw new BadHandler(`Cannot run '${command[0]}': ${stderr.trim()}`);
    }
    return { code, stdout, stderr };
  } finally {
    signal.removeEventListener("abort", killAll);
  }
}

/**
 * Runs a command in a new session, hence with a process group of its own, and has the kernel kill it when this process dies: the next worker
 * runs the task again.
 *
 * `detached` would give it a group, too, but Deno then forks: that copies the page tables of a large process, and blocks everything for
 * milliseconds.
 */
const WRAPPER = ["--pdeathsig", "KILL", "--", "setsid", "--"];

let wrapperWorks: Promise<boolean> | undefined;

/** Whether this machine has `setpriv` and `setsid`, both of util-linux. */
function hasWrapper(): Promise<boolean> {
  return wrapperWorks ??= succeeds("setpriv", [...WRAPPER, "true"]);
}

/** A command that is not there throws at once, rather than from the promise. */
async function succeeds(command: string, args: string[]): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(command, { args, stdout: "null", stderr: "null" })
      .output();
    return success;
  } catch {
    return false;
  }
}

function spawn(
  [command = "", ...args]: string[],
  { cwd, env, wrapped, withInput }: {
    cwd: string;
    env: Record<string, string>;
    wrapped: boolean;
    withInput: boolean;
  },
): Deno.ChildProcess {
  try {
    return new Deno.Command(wrapped ? "setpriv" : command, {
      args: wrapped ? [...WRAPPER, command, ...args] : args,
      cwd,
      clearEnv: true,
      env,
      detached: !wrapped,
      stdin: withInput ? "piped" : "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  } catch (error) {
    throw new BadHandler(`Cannot run '${command}': ${(error as Error).message}`);
  }
}

/** Not the worker's whole environment, which may hold the password of MongoDB. */
function environment(names: string[], trace: Traced = {}): Record<string, string> {
  const inherited = ["PATH", "HOME", "LANG", ...names].map((name) => [name, Deno.env.get(name)]);
  const { traceparent, tracestate } = trace;
  const all = [...inherited, ["TRACEPARENT", traceparent], ["TRACESTATE", tracestate]];
  return Object.fromEntries(all.filter(([, value]) => value !== undefined));
}

/** Kills a process, or the group of a negative id. */
function kill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch {
    // Nobody is left.
  }
}

async function feed(stdin: WritableStream<Uint8Array>, input: string): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  } catch {
    // The process has ended without reading all of it.
  }
}

/** Reads a pipe to its end and keeps the first `limit` bytes. */
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
    const beginning = await new Blob(parts).text();
    return size > limit ? `${beginning}\n[cut: ${size} bytes in all]` : beginning;
  })();
  return { text, cancel: () => reader.cancel() };
}
