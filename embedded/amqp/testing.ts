/**
 * A broker as a process of its own, for tests that kill it.
 * @module
 */
import { startBroker } from "./mod.ts";

/** A broker process. */
export interface BrokerProcess {
  readonly url: string;
  /** End it as a power failure would. */
  kill(): Promise<void>;
}

/** Spawn a broker on `file`, listening on `port` (0: any). Resolves when it accepts connections. */
export async function spawnBroker(file: string, port = 0): Promise<BrokerProcess> {
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
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let output = "";
  while (!output.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`Cannot start the broker: it ended after ${JSON.stringify(output)}`);
    output += value;
  }
  return {
    url: output.trim(),
    async kill() {
      child.kill("SIGKILL");
      await reader.cancel();
      await child.status;
    },
  };
}

if (import.meta.main) {
  const [file, port] = Deno.args;
  console.log((await startBroker({ file, port: Number(port) })).url);
}
