/**
 * The broker and the store under trial.
 * @module
 */
import { type Log, pause } from "@event-sink/lib";
import { root, type Running, start } from "../lib/testing.ts";
import { type Part, startPart } from "./part.ts";

/** Broker and store. Dispose them to stop what was started. */
export interface Servers extends AsyncDisposable {
  amqpUrl: string;
  mongoUrl: string;
  /** Those that the trial has started, and may kill. */
  parts: Part[];
  /** Fills the disk of the embedded stack for so many milliseconds. */
  fillDisk?: (ms: number) => Promise<void>;
  /** Makes RabbitMQ block publishers for so many milliseconds. */
  block?: (ms: number) => Promise<void>;
}

/** Most memory that the embedded stack may have, in bytes. */
const MOST_MEMORY = 800 * 2 ** 20;

/** Bytes of the embedded stack's disk. */
const DISK = 512 * 2 ** 20;

/**
 * Starts what `on` says: `embedded`, `rabbitmq` (a node of its own, from Debian's package), or takes the broker with that URL. The store is the
 * embedded one.
 */
export async function startServers(
  on: string,
  { violated, log }: { violated: (what: string) => void; log: Log },
): Promise<Servers> {
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir({ prefix: "chaos-data-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const disk = await mountDisk(directory);
  if (disk) stack.defer(async () => void await disk.unmount());
  else log.info("No disk of its own can be mounted here: the disk is never full");
  let full = 0;

  const ports = { amqp: freePort(), mongo: freePort() };
  const [, ...words] = JSON.parse(Deno.readTextFileSync(`${root}deno.json`)).tasks.up.split(" ");
  const args = ["--amqp-port", `${ports.amqp}`, "--mongo-port", `${ports.mongo}`];
  const up = stack.use(startPart({
    name: on === "embedded" ? "up" : "up (the store)",
    spawn: () => start([...words, "--data", directory, ...args]),
    most: MOST_MEMORY,
    mayEnd: () => full > 0, // a start on a full disk
    violated,
  }));
  await up.running.seen(/^MONGO_URL=/m);
  const parts = [up];
  const rabbit = on === "rabbitmq" ? await startRabbit(stack, violated) : undefined;
  if (rabbit) parts.push(rabbit.part);
  const owned = stack.move();
  return {
    amqpUrl: on === "embedded"
      ? `amqp://guest:guest@127.0.0.1:${ports.amqp}`
      : rabbit?.amqpUrl ?? on,
    mongoUrl: `mongodb://127.0.0.1:${ports.mongo}`,
    parts,
    block: rabbit?.block,
    fillDisk: disk && (async (ms) => {
      full++;
      await disk.shrink();
      await pause(ms);
      if (--full === 0) await disk.grow();
    }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A node that shares nothing with others on this machine. */
async function startRabbit(stack: AsyncDisposableStack, violated: (what: string) => void) {
  const directory = await Deno.makeTempDir({ prefix: "chaos-rabbitmq-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const port = freePort();
  const env = {
    HOME: directory,
    RABBITMQ_NODENAME: `chaos-${Deno.pid}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
    RABBITMQ_NODE_PORT: `${port}`,
    RABBITMQ_DIST_PORT: `${freePort()}`,
    RABBITMQ_MNESIA_BASE: `${directory}/mnesia`,
    RABBITMQ_LOG_BASE: `${directory}/log`,
    RABBITMQ_PID_FILE: `${directory}/pid`,
    RABBITMQ_ENABLED_PLUGINS_FILE: `${directory}/plugins`,
    // The script becomes Erlang's machine, so that its pid is the one to kill.
    RUNNING_UNDER_SYSTEMD: "true",
  };
  const command = (name: string) => `/usr/lib/rabbitmq/bin/${name}`;
  const spawn = (name: string, args: string[]): Running =>
    start(args, { command: command(name), env });
  const part = stack.use(startPart({
    name: "rabbitmq",
    spawn: () => spawn("rabbitmq-server", []),
    violated,
  }));
  await part.running.seen(/Starting broker\.\.\. completed/);
  let blocked = 0;
  async function watermark(share: string): Promise<boolean> {
    const args = ["-q", "-t", "8", "set_vm_memory_high_watermark", share];
    return (await spawn("rabbitmqctl", args).status).success;
  }
  return {
    part,
    amqpUrl: `amqp://guest:guest@127.0.0.1:${port}`,
    async block(ms: number) {
      blocked++;
      await watermark("0");
      await pause(ms);
      if (--blocked > 0) return;
      // It may be down or stopped at the moment.
      while (!await watermark("0.4")) await pause(500);
    },
  };
}

/** Mounts a disk in memory, where that is allowed. */
async function mountDisk(directory: string) {
  const run = async (command: string, ...args: string[]) =>
    await new Deno.Command(command, { args, stdout: "null", stderr: "null" }).output()
      .then(({ success }) => success, () => false);
  const remount = (size: number) =>
    run("mount", "-o", `remount,size=${Math.round(size)}`, directory);
  if (!await run("mount", "-t", "tmpfs", "-o", `size=${DISK},mode=700`, "chaos", directory)) return;
  return {
    /** Leaves no more than is used. */
    async shrink() {
      for (let attempt = 0; attempt < 20; attempt++) {
        const { blocks, bfree, bsize } = await statfs(directory);
        if (await remount((blocks - bfree) * bsize)) return;
      }
    },
    grow: () => remount(DISK),
    unmount: () => run("umount", "-l", directory),
  };
}

async function statfs(directory: string) {
  const { statfs } = await import("node:fs/promises");
  return await statfs(directory);
}

/** A port that is free, and that no connection is given before it is used: Linux gives those ports from 32768. */
export function freePort(): number {
  while (true) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}
