/**
 * The elastic workers' loop as real processes on the embedded broker, beside its own simulation: the same requests at the same times, uploads that take
 * as long, the same settings, the start-up time that a worker was measured to take.
 *
 * Run: `deno task elastic-run [SEED...]`
 * @module
 */
import { pause, startDeno } from "@event-sink/lib";
import { Buffer } from "node:buffer";
import amqplib from "amqplib";
import { type Load, requestsOf, simulate } from "./elastic/simulation.ts";
import { ours } from "./elastic/ours.ts";
import { root, startUp } from "./measure.ts";

const seeds = Deno.args.length > 0 ? Deno.args.map(Number) : [1, 2];
/** A fifth of the simulation's times: uploads of 1 to 3 s, and tenths of a second, as each is a type of request for the workers. */
const upload = { min: 1, max: 3, mean: 2 };
const objective = 6;
const policy = { min: 1, window: 12, shortWindow: 4, cooldown: 6 };
/** Most workers: enough, and fewer than the step keeps busy. */
const limits = [16, 5];
const load: Load = {
  name: "step",
  seconds: 180,
  most: 3,
  rate: (time) => time >= 50 && time < 120 ? 3 : 0.7,
};

/** What is compared. */
interface Run {
  responses: number[];
  /** Workers in each second, those that start and finish included. */
  workers: number[];
  changes: number;
}

type Requests = ReturnType<typeof requestsOf>;

function simulated(requests: Requests, max: number, startTime: number): Run {
  const controller = ours({ ...policy, max })({ objective, knob: 1, first: 1 });
  const run: Run = { responses: [], workers: [], changes: 0 };
  const { changes } = simulate(load, requests, {
    ...controller,
    reported(report, time) {
      run.responses[report.id] = report.response;
      controller.reported!(report, time);
    },
    decide(view) {
      if (view.time <= load.seconds) run.workers.push(view.workers + view.starting);
      return controller.decide(view);
    },
  }, { objective, startTime, first: 1 });
  return { ...run, changes };
}

async function real(requests: Requests, max: number): Promise<Run & { startTime: number }> {
  await using stack = new AsyncDisposableStack();
  const up = stack.use(await startUp());
  const connection = await amqplib.connect(up.amqpUrl);
  const channel = await connection.createConfirmChannel();
  const directory = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const queue = "e123456_upload";
  await channel.assertQueue(queue, { durable: true });
  const run: Run = { responses: [], workers: [], changes: 0 };

  // The workers report to us, and we pass it on to the monitor.
  for (const suffix of ["", "_started"]) {
    await channel.assertQueue(`RAW${suffix}`, { durable: true });
    await channel.consume(`RAW${suffix}`, (message) => {
      const { messageId } = message!.properties;
      channel.sendToQueue(`DSTREPORT${suffix}`, message!.content, { messageId });
      const { response_time } = JSON.parse(message!.content.toString());
      if (response_time) run.responses[Number(messageId)] ??= response_time;
    }, { noAck: true });
  }
  const tenths = Array.from({ length: 21 }, (_, index) => (10 + index) / 10);
  const times = tenths.map((seconds) => `u${Math.round(seconds * 10)}=${seconds}`).join(",");
  const start = (task: string, args: string[], onLine?: (line: string) => void) =>
    stack.use(startDeno(["task", task, ...args], {
      cwd: new URL(`file://${root}prototypes/elastic-workers/`),
      env: { AMQP_URL: up.amqpUrl },
      onLine,
    }));
  const workerArgs = ["--report-queuename", "RAW", "--upload-time", times];
  const startTime = await timeToStart(() =>
    start("worker", ["--app-id", "other", ...workerArgs])
      .line(" [*] Waiting")
  );
  const flags = Object.entries({ objective, max, ...policy }).flatMap(([name, value]) => [
    `--${name.replace("shortWindow", "short-window")}`,
    `${value}`,
  ]);
  let began = Infinity;
  start("monitor", ["--app-id", "e123456", ...flags], (line) => {
    const seconds = (performance.now() - began) / 1000;
    if (/ workers?, not /.test(line) && seconds >= 0 && seconds <= load.seconds) run.changes++;
  });
  start("scaler", ["--state-directory", directory, "--", ...workerArgs]);
  while ((await channel.checkQueue(queue)).consumerCount < 1) await pause(100);

  began = performance.now();
  const until = (seconds: number) => pause(Math.max(0, began + seconds * 1000 - performance.now()));
  async function publish() {
    for (const [id, { at, upload }] of requests.entries()) {
      await until(at);
      const body = JSON.stringify({ type: `u${Math.round(upload * 10)}`, uri: "http://a" });
      channel.sendToQueue(queue, Buffer.from(body), {
        messageId: `${id}`,
        headers: { published_ms: Date.now() },
      });
    }
  }
  async function count() {
    for (let second = 1; second <= load.seconds; second++) {
      await until(second);
      run.workers.push([...Deno.readDirSync(directory)].length);
    }
  }
  await Promise.all([publish(), count()]);
  while (Object.keys(run.responses).length < requests.length) await pause(500);
  await connection.close();
  return { ...run, startTime };
}

/** Seconds, the shortest of three. */
async function timeToStart(start: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < 3; round++) {
    const started = performance.now();
    await start();
    times.push((performance.now() - started) / 1000);
  }
  return Math.min(...times);
}

function row(name: string, { responses, workers, changes }: Run): string {
  const sorted = Array.from(responses).sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1]!.toFixed(1);
  const within = sorted.filter((response) => response <= objective).length / sorted.length;
  const minutes = workers.reduce((sum, each) => sum + each, 0) / 60;
  const cells = [name, `${(100 * within).toFixed(1)} %`, `${at(0.5)} s`, `${at(0.95)} s`]
    .concat(minutes.toFixed(1), `${changes}`, `${Math.max(...workers)}`);
  return `| ${cells.join(" | ")} |`;
}

console.log(`| | within ${objective} s | p50 | p95 | worker-minutes | changes | most workers |
| --- | --- | --- | --- | --- | --- | --- |`);
for (const seed of seeds) {
  const requests = requestsOf(load, seed, upload).map(({ at, upload }) => ({
    at,
    upload: Math.round(upload * 10) / 10,
  }));
  for (const max of limits) {
    const measured = await real(requests, max);
    const own = simulated(requests, max, measured.startTime);
    const apart = measured.workers.map((workers, second) =>
      Math.abs(workers - (own.workers[second] ?? workers))
    );
    const mean = apart.reduce((sum, each) => sum + each, 0) / apart.length;
    console.log(row(`seed ${seed}, at most ${max}: processes`, measured));
    console.log(row(`simulated, ${mean.toFixed(1)} workers apart on average`, own));
  }
}
