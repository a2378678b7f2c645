/**
 * Requests a second of products' admin, beside the same routes in Flask (gunicorn, two processes of 8 threads) with pika publishing in the request; both
 * on RabbitMQ, with SQLite files that are written through to the disk.
 *
 * Run: `deno task products [COUNT]`. It installs Flask, gunicorn and pika from PyPI into a temporary directory.
 * @module
 */
import { compare, rabbitUrl, remove, root, taskArgs, time } from "./measure.ts";

const count = Number(Deno.args[0] ?? 5000);
const directory = await Deno.makeTempDir();
const queue = "event-sink.bench.products";
const body = JSON.stringify({ title: "A cup of tea", price: "2.40" });
const headers = { "content-type": "application/json" };

/** A server, once it answers. */
async function serve(url: string, command: string, options: Deno.CommandOptions) {
  const child = new Deno.Command(command, { stdout: "null", stderr: "null", ...options }).spawn();
  const end = Date.now() + 30_000;
  while (!await fetch(`${url}/api/products/1/`).then((answer) => answer.text(), () => "")) {
    if (Date.now() > end) throw new Error(`${command} does not answer at ${url}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    async stop() {
      child.kill("SIGTERM");
      await child.status;
    },
  };
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

/** Requests a second, 50 at a time. */
async function rate(url: string, requests: number, init?: RequestInit): Promise<number> {
  const started = performance.now();
  await Promise.all(Array.from({ length: 50 }, async () => {
    for (let number = 0; number < requests / 50; number++) {
      const answer = await fetch(url, init);
      await answer.body?.cancel();
      if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
    }
  }));
  return requests / (performance.now() - started) * 1000;
}

await time("python3", ["-m", "venv", `${directory}/venv`]);
await time(`${directory}/venv/bin/pip`, ["install", "-q", "flask", "gunicorn", "pika"]);
await remove(rabbitUrl, queue, `${queue}.flask`, `${queue}.feedback`, `${queue}.feedback.dlq`);

const ports = [freePort(), freePort()] as const;
const [ours, flask] = ports.map((port) => `http://127.0.0.1:${port}`) as [string, string];
const admin = await serve(ours, Deno.execPath(), {
  args: [
    ...taskArgs("consumers/products", "admin"),
    ...["--port", `${ports[0]}`, "--queue", queue, "--database", `${directory}/admin.db`],
  ],
  cwd: `${root}consumers/products`,
  env: { AMQP_URL: rabbitUrl },
});
const gunicorn = await serve(flask, `${directory}/venv/bin/gunicorn`, {
  args: ["-b", `127.0.0.1:${ports[1]}`, "-w", "2", "--threads", "8", "flask_products:app"],
  cwd: `${root}bench`,
  env: {
    AMQP_URL: rabbitUrl,
    QUEUE: `${queue}.flask`,
    DATABASE: `${directory}/flask.db`,
    PYTHONDONTWRITEBYTECODE: "1",
  },
});
for (const round of [1, 2]) {
  const post = { method: "POST", body, headers };
  compare(
    `POST /api/products/, round ${round}`,
    ["ours", await rate(`${ours}/api/products/`, count, post)],
    ["Flask", await rate(`${flask}/api/products/`, count, post)],
  );
  compare(
    `GET /api/products/1/, round ${round}`,
    ["ours", await rate(`${ours}/api/products/1/`, count)],
    ["Flask", await rate(`${flask}/api/products/1/`, count)],
  );
}
const started = performance.now();
while ((await (await fetch(`${ours}/health`)).json()).unpublished > 0) {
  await new Promise((resolve) => setTimeout(resolve, 10));
}
const late = (performance.now() - started) / 1000;
console.log(`Our outbox is empty ${late.toFixed(1)} s after the last request`);
await admin.stop();
await gunicorn.stop();
await Deno.remove(directory, { recursive: true });
await remove(rabbitUrl, queue, `${queue}.flask`, `${queue}.feedback`, `${queue}.feedback.dlq`);
