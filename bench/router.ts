/**
 * The router, plain and with its journal in the embedded store (or that of MONGO_URL), against the same loop in pyzmq (receive, parse,
 * publish) and against libzmq's own proxy: a PUSH in, a SUB out, both ends in Python. What PUB had to drop, its subscriber being slow, is
 * counted too.
 *
 * Run: `deno task router [COUNT]`
 * @module
 */
import { compare, root, startUp, taskArgs } from "./measure.ts";

const count = Number(Deno.args[0] ?? 100_000);
const python = "/usr/bin/python3";
const script = `${root}bench/router.py`;
await using up = await startUp();
const mongoUrl = Deno.env.get("MONGO_URL") || up.mongoUrl;

function uri(): string {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return `tcp://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;
}

/** Events per second that reach the subscriber. */
async function rate(name: string, start: (pull: string, pub: string) => [string, string[]]) {
  const [pull, pub] = [uri(), uri()];
  const [command, args] = start(pull, pub);
  const child = new Deno.Command(command, {
    args,
    cwd: `${root}reactor`,
    env: { MONGO_URL: "" },
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let output = "";
  while (!/ready|Routing/.test(output)) output += (await reader.read()).value;
  const ends = await new Deno.Command(python, { args: [script, "ends", pull, pub, `${count}`] })
    .output();
  const [received, seconds] = new TextDecoder().decode(ends.stdout).split(" ").map(Number);
  child.kill("SIGKILL");
  await reader.cancel();
  await child.status;
  if (received !== count) console.log(`${name}: ${count - received!} of ${count} dropped by PUB`);
  return received! / seconds!;
}

const config = await Deno.makeTempFile();
const router = (args: string[]) => (pull: string, pub: string): [string, string[]] => {
  const at = (uri: string) => ({ config: { port: Number(uri.split(":")[2]) } });
  const outputs = [{ handler: "zeromq", ...at(pub) }];
  Deno.writeTextFileSync(config, JSON.stringify({ outputs, aggregator: at(pull) }));
  return [Deno.execPath(), [...taskArgs("reactor", "router"), "-c", config, ...args]];
};
const peer = (role: string) => (pull: string, pub: string): [string, string[]] => [
  python,
  [script, role, pull, pub],
];

for (let round = 1; round <= 2; round++) {
  const plain = await rate("plain", router([]));
  const journal = await rate("journal", router(["--mongo-url", mongoUrl]));
  const loop = await rate("pyzmq", peer("loop"));
  const proxy = await rate("proxy", peer("proxy"));
  compare(`router, round ${round}`, ["plain", plain], ["pyzmq", loop]);
  compare(`router, round ${round}`, ["with journal", journal], ["pyzmq", loop]);
  compare(`router, round ${round}`, ["plain", plain], ["zmq.proxy", proxy]);
}
await Deno.remove(config);
