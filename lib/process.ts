/**
 * Other tools as processes of their own, for a tool that shows several of them at work.
 * @module
 */
import type { Flags } from "./flags.ts";
import type { Tool } from "./tool.ts";

/** A running `deno`. Dispose it to stop it and wait for its end. */
export interface Process extends AsyncDisposable {
  /**
   * Waits for a line of its output and returns what follows its beginning.
   *
   * @throws when the process ends without one
   */
  line(beginning: string): Promise<string>;
  /** Resolves when it has ended, with its last words. */
  readonly ended: Promise<string>;
}

/** How to start it. */
export interface ProcessOptions {
  /** Its folder. */
  cwd: URL;
  /** Variables on top of this process's own. */
  env?: Record<string, string>;
  /** Is told each line that it writes. */
  onLine?: (line: string, stream: "stdout" | "stderr") => void;
}

/** The tools that one tool has started. Dispose it to stop them, the last one first, and wait for their ends. */
export interface Crew extends AsyncDisposable {
  /** Starts a task of the folder `cwd`; that it ends before this tool does is a failure. */
  start(task: string, args: string[], options: ProcessOptions): Process;
  /**
   * Starts the embedded broker and store on free ports.
   *
   * @param args further flags of `up`, such as `["--data", "state"]`
   * @returns their URLs
   */
  startEmbedded(args?: string[]): Promise<{ amqpUrl: string; mongoUrl: string }>;
}

/**
 * Makes an empty crew.
 *
 * @param told is told what the tools say on stderr, until they are stopped
 */
export function createCrew(
  { fail, signal }: Pick<Tool<Flags>, "fail" | "signal">,
  told: (line: string, task: string) => void,
): Crew {
  const stack = new AsyncDisposableStack();
  function start(task: string, args: string[], options: ProcessOptions): Process {
    const process = stack.use(startDeno(["task", task, ...args], {
      ...options,
      onLine(line, stream) {
        options.onLine?.(line, stream);
        // Not what `deno task` itself says; and once stopping, the tools part from each other: nothing to tell.
        const heard = stream === "stderr" && !/^(Task|Download) /.test(line);
        if (heard && !signal.aborted) told(line, task);
      },
    }));
    process.ended.then((last) => {
      if (!stack.disposed) fail(new Error(`Cannot go on: ${task} has ended: ${last}`));
    });
    return process;
  }
  return {
    start,
    async startEmbedded(args = []) {
      const ports = ["--amqp-port", "0", "--mongo-port", "0"];
      const up = start("up", [...ports, ...args], { cwd: new URL("../", import.meta.url) });
      return { amqpUrl: await up.line("AMQP_URL="), mongoUrl: await up.line("MONGO_URL=") };
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Starts `deno` with arguments such as `["task", "recv"]`. */
export function startDeno(args: string[], { cwd, env = {}, onLine }: ProcessOptions): Process {
  const child = new Deno.Command(Deno.execPath(), {
    args,
    cwd,
    // One port is not for several.
    env: { STATUS_PORT: "", ...env, NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  // What was written before anybody waits for it: a tool says that it is ready in its first lines.
  const first: string[] = [];
  let last = "no output";
  let over = false;
  let news = Promise.withResolvers<void>();
  const reading = (["stdout", "stderr"] as const).map((stream) =>
    eachLine(child[stream], (line) => {
      if (first.length < 100) first.push(line);
      last = line;
      news.resolve();
      news = Promise.withResolvers();
      onLine?.(line, stream);
    })
  );
  const ended = Promise.all([child.status, ...reading]).then(() => {
    over = true;
    news.resolve();
    return last;
  });
  return {
    ended,
    async line(beginning) {
      while (true) {
        const next = news.promise;
        const found = first.find((line) => line.startsWith(beginning));
        if (found !== undefined) return found.slice(beginning.length);
        if (over) throw new Error(`Cannot start deno ${args.join(" ")}: ${last}`);
        await next;
      }
    },
    async [Symbol.asyncDispose]() {
      try {
        child.kill("SIGTERM");
      } catch {
        // Ended already.
      }
      await ended;
    },
  };
}

async function eachLine(stream: ReadableStream<Uint8Array>, onLine: (line: string) => void) {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    lines.forEach(onLine);
  }
  if (rest !== "") onLine(rest);
}
