import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import amqplib from "amqplib";
import { MongoClient } from "mongodb";
import { startEmbedded } from "./mod.ts";

const { tasks } = JSON.parse(Deno.readTextFileSync(new URL("../deno.json", import.meta.url)));
const [, ...words] = (tasks.up as string).split(" ");

/** Starts `deno task up` as a process whose pid is its own. */
function up(...args: string[]) {
  const child = new Deno.Command(Deno.execPath(), {
    args: [...words, ...args],
    cwd: new URL("..", import.meta.url),
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(child.stderr).text();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let stdout = "";
  async function read(): Promise<boolean> {
    const { value, done } = await reader.read();
    stdout += value ?? "";
    return !done;
  }
  return {
    async url(name: string): Promise<string> {
      const line = new RegExp(`^${name}=(.*)$`, "m");
      while (!line.test(stdout) && await read());
      return line.exec(stdout)![1]!;
    },
    async ended(signal?: Deno.Signal) {
      if (signal) child.kill(signal);
      while (await read());
      return { code: (await child.status).code, stdout, stderr: await stderr };
    },
  };
}

async function temporary() {
  const path = await Deno.makeTempDir();
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

Deno.test("up keeps what was confirmed and acknowledged in --data over kill -9", async () => {
  await using data = await temporary();
  const args = ["--data", data.path, "--amqp-port", "0", "--mongo-port", "0"];

  const first = up(...args);
  const sender = await amqplib.connect(await first.url("AMQP_URL"));
  sender.on("error", () => {}); // it is killed
  const channel = await sender.createConfirmChannel();
  await channel.assertExchange("x", "fanout", { durable: true });
  await channel.assertQueue("q", { durable: true });
  await channel.bindQueue("q", "x", "");
  for (let number = 0; number < 1000; number++) {
    channel.publish("x", "", Buffer.from(`${number}`), { persistent: true });
  }
  await channel.waitForConfirms();
  const writer = new MongoClient(await first.url("MONGO_URL"));
  await writer.db("d").collection<{ _id: number }>("c").insertMany(
    Array.from({ length: 1000 }, (_, _id) => ({ _id })),
  );
  await first.ended("SIGKILL");
  await writer.close();

  const second = up(...args);
  const receiver = await amqplib.connect(await second.url("AMQP_URL"));
  const received: string[] = [];
  const all = Promise.withResolvers<void>();
  const consuming = await receiver.createChannel();
  await consuming.consume("q", (message) => {
    received.push(message!.content.toString());
    if (received.length === 1000) all.resolve();
  }, { noAck: true });
  await all.promise;
  assert.deepEqual(received, Array.from({ length: 1000 }, (_, number) => `${number}`));
  await receiver.close();
  await using reader = new MongoClient(await second.url("MONGO_URL"));
  assert.equal(await reader.db("d").collection("c").countDocuments(), 1000);
  assert.equal((await second.ended("SIGINT")).code, 0);
});

Deno.test("up refuses a data directory or a port that another process uses", async () => {
  await using data = await temporary();
  await using stack = await startEmbedded({ data: data.path });
  const locked = await up("--data", data.path, "--amqp-port", "0", "--mongo-port", "0").ended();
  assert.equal(locked.code, 1);
  assert.equal(
    locked.stderr,
    `Cannot use the data directory '${data.path}': another process uses it\n`,
  );
  for (
    const [flag, other, url] of [
      ["--amqp-port", "--mongo-port", stack.amqpUrl],
      ["--mongo-port", "--amqp-port", stack.mongoUrl],
    ] as const
  ) {
    const { port } = new URL(url);
    const { code, stdout, stderr } = await up(flag, port, other, "0").ended();
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(
      stderr,
      new RegExp(`^Cannot listen on 127\\.0\\.0\\.1:${port}: .* choose other ports with .*\n$`),
    );
  }
});

Deno.test("up ends wrong usage with 2 and help with 0", async () => {
  for (
    const args of [["--nope"], ["--amqp-port", "99999"], ["--mongo-port", "x"], ["word"], [
      "--data",
      "",
    ]]
  ) {
    const { code, stderr } = await up(...args).ended();
    assert.equal(code, 2);
    assert.match(stderr, /^error: /);
  }
  const help = await up("--help").ended();
  assert.equal(help.code, 0);
  assert.match(help.stdout, /one machine/);
});

Deno.test("up prints what to paste into another terminal, and a shell takes it", async () => {
  const process = up("--amqp-port", "0", "--mongo-port", "0");
  const urls = [await process.url("AMQP_URL"), await process.url("MONGO_URL")];
  const { code, stdout } = await process.ended("SIGTERM");
  assert.equal(code, 0);
  const line = stdout.split("\n").find((text) => text.startsWith("export "));
  const shell = await new Deno.Command("sh", {
    args: ["-c", `${line}; sh -c 'echo "$AMQP_URL $MONGO_URL"'`],
  }).output();
  assert.equal(new TextDecoder().decode(shell.stdout).trim(), urls.join(" "));
});

Deno.test("up names the data directory that it cannot use, and asks for no more permissions", async () => {
  await using parent = await temporary();
  await Deno.writeTextFile(`${parent.path}/file`, "");
  for (
    const path of ["/dev/shm/state", "/proc/state", `${parent.path}/file`, `${parent.path}/file/x`]
  ) {
    const { code, stderr } = await up("--data", path, "--amqp-port", "0", "--mongo-port", "0")
      .ended();
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`^Cannot use the data directory '${path}': [^\n]+\n$`));
    assert.doesNotMatch(stderr, /--allow/);
  }
});

Deno.test("startEmbedded()'s temporary directory goes with it", async () => {
  await using parent = await temporary();
  Deno.env.set("TMPDIR", parent.path);
  const own = () => [...Deno.readDirSync(parent.path)].length;
  try {
    {
      await using _one = await startEmbedded();
      await using _two = await startEmbedded();
      assert.equal(own(), 2);
    }
    assert.equal(own(), 0);
  } finally {
    Deno.env.delete("TMPDIR");
  }
});

Deno.test("the data directory and all in it are for their owner alone, whatever the umask", async () => {
  await using parent = await temporary();
  const data = `${parent.path}/state`;
  const umask = Deno.umask(0);
  try {
    await using stack = await startEmbedded({ data });
    const connection = await amqplib.connect(stack.amqpUrl);
    await (await connection.createChannel()).assertQueue("q");
    await connection.close();
    await using client = new MongoClient(stack.mongoUrl);
    await client.db("d").collection("c").insertOne({});
    const modes = [...Deno.readDirSync(data)].map(({ name }) => [name, modeOf(`${data}/${name}`)]);
    assert.deepEqual(modes.sort(), [
      ["amqp.sqlite", "600"],
      ["amqp.sqlite-wal", "600"],
      ["lock", "600"],
      ["mongo.sqlite", "600"],
      ["mongo.sqlite-wal", "600"],
    ]);
    assert.equal(modeOf(data), "700");
  } finally {
    Deno.umask(umask);
  }
});

Deno.test("files that an earlier version left readable are narrowed, also after a crash", async () => {
  await using data = await temporary();
  const args = ["--data", data.path, "--amqp-port", "0", "--mongo-port", "0"];
  const first = up(...args);
  const connection = await amqplib.connect(await first.url("AMQP_URL"));
  connection.on("error", () => {}); // it is killed
  await (await connection.createChannel()).assertQueue("q");
  await first.ended("SIGKILL");
  const files = () => [...Deno.readDirSync(data.path)].map(({ name }) => `${data.path}/${name}`);
  for (const file of files()) Deno.chmodSync(file, 0o644);
  await using _stack = await startEmbedded({ data: data.path });
  const open = files().filter((file) => file.includes("sqlite") && modeOf(file) !== "600");
  assert.deepEqual(open, []);
});

function modeOf(path: string): string {
  return (Deno.statSync(path).mode! & 0o777).toString(8);
}
