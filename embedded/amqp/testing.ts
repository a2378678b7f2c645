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

/**
 * Spawn a broker on `file`, listening on `port` (0: any). Resolves when it accepts connections.
 * @param quiet Collect what it logs, which otherwise is seen on stderr
 */
export async function spawnBroker(file: string, port = 0, quiet = false): Promise<BrokerProcess> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-lock",
      "--allow-net",
      "--allow-read",
      "--allow-write",
      import.meta.filename!,
      file,
      String(port),
    ],
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
  const [file, port] = Deno.args;
  console.log((await startBroker({ file, port: Number(port) })).url);
}
