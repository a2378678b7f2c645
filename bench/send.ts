/**
 * `send --file` against a pika publisher with confirms: 100,000 JSON lines of 200 bytes, persistent, on the same RabbitMQ.
 *
 * Run: `deno task send [COUNT]`
 * @module
 */
import { compare, event, rabbitUrl, remove, root, taskArgs, time } from "./measure.ts";

const count = Number(Deno.args[0] ?? 100_000);
const file = await Deno.makeTempFile();
await Deno.writeTextFile(
  file,
  Array.from({ length: count }, (_, number) => event(number) + "\n").join(""),
);

const folder = "prototypes/send-recv";
for (let round = 1; round <= 2; round++) {
  const ours = await time(Deno.execPath(), [...taskArgs(folder, "send"), "--file", file], {
    cwd: root + folder,
    env: { AMQP_URL: rabbitUrl },
  });
  const pika = await time("/usr/bin/python3", [`${root}bench/pika_send.py`, rabbitUrl, file]);
  compare(`send --file, ${count} lines, round ${round}`, ["ours", count / ours], [
    "pika",
    count / pika,
  ]);
  await remove(rabbitUrl, "hello", "pika.bench");
}
await Deno.remove(file);
