/**
 * What the measurements share: servers, processes that are timed, figures that are printed.
 * @module
 */
import { Buffer } from "node:buffer";
import amqplib from "amqplib";

/** The repository's root. */
export const root = new URL("../", import.meta.url).pathname;

/** RabbitMQ, for the measurements that need it. */
export const rabbitUrl = Deno.env.get("AMQP_URL") || "amqp://guest:guest@localhost:5672";

/** Runs a program to its end and returns its wall time in seconds; throws when it fails. */
export async function time(
  command: string,
  args: string[],
  options: Deno.CommandOptions = {},
): Promise<number> {
  const started = performance.now();
  const { success, stderr } = await new Deno.Command(command, {
    args,
    stdout: "null",
    stderr: "piped",
    ...options,
  }).output();
  const seconds = (performance.now() - started) / 1000;
  if (!success) {
    throw new Error(`${command} ${args[0]} failed: ${new TextDecoder().decode(stderr)}`);
  }
  return seconds;
}

/** The arguments of `deno task TASK` in a folder, to run it without the task runner's own time. */
export function taskArgs(folder: string, task: string): string[] {
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${root}${folder}/deno.json`));
  return (tasks[task] as string).split(" ").slice(1);
}

/** The embedded stack, in a process of its own; `args` are further flags of `up`. */
export async function startUp(...args: string[]) {
  const started = performance.now();
  const up = taskArgs("", "up");
  const child = new Deno.Command(Deno.execPath(), {
    args: [...up, "--amqp-port", "0", "--mongo-port", "0", ...args],
    cwd: root,
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let output = "";
  while (!/^MONGO_URL=.*\n/m.test(output)) output += (await reader.read()).value;
  const url = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(output)![1]!;
  return {
    /** Milliseconds from the start of the process to its URLs. */
    ready: performance.now() - started,
    amqpUrl: url("AMQP_URL"),
    mongoUrl: url("MONGO_URL"),
    /** Resident memory in MB. */
    memory: () => memory(child.pid),
    /** Ends it as a crash would. */
    kill: () => child.kill("SIGKILL"),
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await reader.cancel();
      await child.status;
    },
  };
}

/** Resident memory of a process in MB. */
async function memory(pid: number): Promise<number> {
  // /proc would need all permissions.
  const { stdout } = await new Deno.Command("ps", { args: ["-o", "rss=", "-p", `${pid}`] })
    .output();
  return Math.round(Number(new TextDecoder().decode(stdout)) / 1024);
}

/** A JSON line of 200 bytes. */
export function event(number: number): string {
  const head = `{"number":${number},"padding":"`;
  return head + "x".repeat(198 - head.length) + '"}';
}

/** Publishes events with confirms, a thousand of them unconfirmed, and returns the seconds that took. */
export async function fill(url: string, queue: string, count: number): Promise<number> {
  const connection = await amqplib.connect(url, { noDelay: true });
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(queue, { durable: true });
  await channel.purgeQueue(queue);
  const started = performance.now();
  let unconfirmed = 0;
  let room = Promise.withResolvers<void>();
  for (let number = 0; number < count; number++) {
    unconfirmed++;
    channel.sendToQueue(queue, Buffer.from(event(number)), {
      persistent: true,
      messageId: `${number}`,
    }, () => {
      unconfirmed--;
      room.resolve();
    });
    while (unconfirmed >= 1000) {
      room = Promise.withResolvers();
      await room.promise;
    }
  }
  await channel.waitForConfirms();
  const seconds = (performance.now() - started) / 1000;
  await connection.close();
  return seconds;
}

/** Consumes and acknowledges what {@linkcode fill} has put in, and returns the seconds that took. */
export async function drain(url: string, queue: string, count: number): Promise<number> {
  const connection = await amqplib.connect(url, { noDelay: true });
  const channel = await connection.createChannel();
  await channel.prefetch(1000);
  const started = performance.now();
  let received = 0;
  const all = Promise.withResolvers<void>();
  await channel.consume(queue, (message) => {
    channel.ack(message!);
    if (++received === count) all.resolve();
  });
  await all.promise;
  const seconds = (performance.now() - started) / 1000;
  await channel.close(); // after all acknowledgements
  await connection.close();
  return seconds;
}

/** Removes queues. */
export async function remove(url: string, ...queues: string[]): Promise<void> {
  const connection = await amqplib.connect(url);
  const channel = await connection.createChannel();
  for (const queue of queues) await channel.deleteQueue(queue);
  await connection.close();
}

/** Prints two rates and how the first compares to the second. */
export function compare(what: string, ours: [string, number], other: [string, number]) {
  const rate = ([name, perSecond]: [string, number]) =>
    `${name} ${Math.round(perSecond).toLocaleString("en")}/s`;
  console.log(`${what}: ${rate(ours)}, ${rate(other)}: ${(ours[1] / other[1]).toFixed(1)} times`);
}

/** The middle one of some numbers. */
export function median(numbers: number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
}
