/**
 * A broker as a process of its own, for tests that kill it.
 * @module
 */
import { startBroker } from "./mod.ts";

/** A broker process; disposing it kills it. */
export interface BrokerProcess extends AsyncDisposable {
  readonly url: string;
  /** What it has logged so far, if it was spawned to tell. */
  readonly logged: string;
  /** End it as a power failure would. */
  kill(): Promise<void>;
}

/** How to spawn a broker. */
export interface SpawnOptions {
  /** Collect what it logs, which otherwise is seen on stderr. */
  quiet?: boolean;
  /** File descriptors that it may have. Default: as many as this process. */
  descriptors?: number;
}

/** Spawn a broker on `file`, listening on any free port. Resolves when it accepts connections. */
export async function spawnBroker(
  file: string,
  { quiet = false, descriptors }: SpawnOptions = {},
): Promise<BrokerProcess> {
  const command = [
    Deno.execPath(),
    "run",
    "--no-lock",
    "--allow-net",
    "--allow-read",
    "--allow-write",
    import.meta.filename!,
    file,
  ];
  const limit = descriptors === undefined ? "" : `ulimit -n ${descriptors};`;
  const child = new Deno.Command("sh", {
    args: ["-c", `${limit} exec "$@"`, "sh", ...command],
    stdout: "piped",
    stderr: quiet ? "piped" : "inherit",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let logged = "";
  const logging = quiet && child.stderr.pipeThrough(new TextDecoderStream())
    .pipeTo(new WritableStream({ write: (text) => void (logged += text) }));
  let output = "";
  while (!output.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`Cannot start the broker: it ended after '${output}' ${logged}`);
    output += value;
  }
  let killed: Promise<void> | undefined;
  const end = async () => {
    child.kill("SIGKILL");
    await reader.cancel();
    await child.status;
    await logging;
  };
  const kill = () => killed ??= end();
  return {
    url: output.trim(),
    get logged() {
      return logged;
    },
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

if (import.meta.main) {
  // As `up` has one. Deno 2.9 panics when it first looks after signals with no file descriptor left.
  Deno.addSignalListener("SIGTERM", () => Deno.exit());
  console.log((await startBroker({ file: Deno.args[0], port: 0 })).url);
}
