/**
 * Other tools as processes of their own, for a tool that shows several of them at work.
 * @module
 */

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

/** Starts `deno` with arguments such as `["task", "recv"]`. */
export function startDeno(args: string[], { cwd, env = {}, onLine }: ProcessOptions): Process {
  const child = new Deno.Command(Deno.execPath(), {
    args,
    cwd,
    env: { ...env, NO_COLOR: "1" },
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
