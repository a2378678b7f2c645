/**
 * A process of the trial: killed, stopped and started again as a supervisor would, and watched all the time.
 * @module
 */
import { pause } from "@event-sink/lib";
import type { Running } from "../lib/testing.ts";

/** How a process is watched. */
export interface PartOptions {
  /** For the account. */
  name: string;
  /** Starts it. */
  spawn: () => Running;
  /** Bytes of memory that it may have; no limit for what is not ours. */
  most?: number;
  /** Whether it may end by itself at the moment. */
  mayEnd?: () => boolean;
  /** Is told what must not happen. */
  violated: (what: string) => void;
}

/** A process that is always to run. Dispose it to end it. */
export interface Part extends AsyncDisposable {
  readonly name: string;
  /** The process of now. */
  readonly running: Running;
  /** Most memory that it has had resident, in bytes. */
  readonly peak: number;
  /** Whether it runs, rather than waits to be started again. */
  readonly up: boolean;
  /** Kills it at once and starts it again `down` milliseconds later. */
  kill(down: number): Promise<void>;
  /** Stops it for so many milliseconds, as a machine that hangs does. */
  stop(ms: number): Promise<void>;
  /** What it wrote to stderr, all its lives. */
  log(): string;
}

/** Starts a process that is always to run. */
export function startPart({ name, spawn, most, mayEnd, violated }: PartOptions): Part {
  let running = spawn();
  let log = "";
  let expected = false;
  let stopped = 0;
  let peak = 0;
  let tooLarge = false;
  let over = false;

  function watch(process: Running) {
    process.status.then(async ({ code, signal }) => {
      log += process.output.stderr;
      if (expected || over) return;
      if (!mayEnd?.()) {
        const last = process.output.stderr.trim().split("\n").slice(-3).join("\n    ");
        violated(`${name} has ended by itself, with ${signal ?? code}:\n    ${last}`);
      }
      await pause(1000);
      if (!over && process === running) restart();
    });
  }
  function restart() {
    expected = false;
    stopped = 0;
    running = spawn();
    watch(running);
  }
  function signal(signal: Deno.Signal) {
    try {
      running.kill(signal);
    } catch {
      // It has ended meanwhile.
    }
  }
  watch(running);
  const measuring = setInterval(async () => {
    peak = Math.max(peak, await memoryOf(running.pid));
    if (most === undefined || peak <= most || tooLarge) return;
    tooLarge = true;
    violated(`${name} has ${inMegabytes(peak)} in memory, more than ${inMegabytes(most)}`);
  }, 1000);

  return {
    name,
    get running() {
      return running;
    },
    get peak() {
      return peak;
    },
    get up() {
      return !expected;
    },
    async kill(down) {
      expected = true;
      signal("SIGKILL");
      await running.status;
      await pause(down);
      if (!over) restart();
    },
    async stop(ms) {
      const process = running;
      stopped++;
      signal("SIGSTOP");
      await pause(ms);
      // The last of those that have stopped it lets it go on.
      if (process === running && --stopped === 0) signal("SIGCONT");
    },
    log: () => log + (log.endsWith(running.output.stderr) ? "" : running.output.stderr),
    async [Symbol.asyncDispose]() {
      over = true;
      clearInterval(measuring);
      signal("SIGKILL");
      await running.status;
    },
  };
}

/** What a process has in memory at the moment, in bytes. */
async function memoryOf(pid: number): Promise<number> {
  // Not from /proc, which Deno reads with all permissions only.
  const args = ["-o", "rss=", "-p", `${pid}`];
  const { stdout } = await new Deno.Command("ps", { args, stderr: "null" }).output();
  return Number(new TextDecoder().decode(stdout)) * 1024; // 0 when it has ended
}

/** Bytes for people. */
export function inMegabytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MB`;
}

/** Writes what the processes wrote to files, and returns the directory: that with the given name, or a new one. */
export async function keepLogs(
  name: string,
  parts: readonly Pick<Part, "name" | "log">[],
): Promise<string> {
  const directory = name || await Deno.makeTempDir({ prefix: "chaos-logs-" });
  await Deno.mkdir(directory, { recursive: true });
  for (const { name, log } of parts) {
    await Deno.writeTextFile(`${directory}/${name.replaceAll(" ", "-")}`, log());
  }
  return directory;
}
