/**
 * `send hello` against the same in pika, from start to confirmed exit, on the same RabbitMQ.
 *
 * Run: `deno task hello [RUNS]`
 * @module
 */
import { median, rabbitUrl, remove, root, taskArgs, time } from "./measure.ts";

const runs = Number(Deno.args[0] ?? 20);
const folder = "prototypes/send-recv";
const file = await Deno.makeTempFile();
await Deno.writeTextFile(file, "hello");
const send = taskArgs(folder, "send");
const env = { AMQP_URL: rabbitUrl };
const ours: number[] = [];
const pika: number[] = [];
for (let run = 0; run <= runs; run++) {
  const seconds = [
    await time(Deno.execPath(), [...send, "hello"], { cwd: root + folder, env }),
    await time("/usr/bin/python3", [`${root}bench/pika_send.py`, rabbitUrl, file]),
  ] as const;
  if (run === 0) continue; // the first one fills the caches
  ours.push(seconds[0]);
  pika.push(seconds[1]);
}
await Deno.remove(file);
await remove(rabbitUrl, "hello", "pika.bench");
const ratio = median(ours.map((seconds, run) => seconds / pika[run]!));
console.log(
  `send hello, median of ${runs}: ours ${(median(ours) * 1000).toFixed(0)} ms, ` +
    `pika ${(median(pika) * 1000).toFixed(0)} ms: ${ratio.toFixed(2)} times`,
);
