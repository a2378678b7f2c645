import assert from "node:assert/strict";
import { startEmbedded } from "@event-sink/embedded";
import { connectBroker } from "./broker.ts";
import type { Log } from "./log.ts";
import { eventually, layCable, startServers, unique } from "./testing.ts";

/** A log whose lines are kept. */
function keptLog(): Log & { lines: string[] } {
  const lines: string[] = [];
  const say = (text: string) => void lines.push(text);
  return {
    ...{ lines, info: say, warn: say, debug() {}, setLevel() {} },
    written: () => Promise.resolve(),
  };
}

/** A relay that takes single methods of the client out of the stream, as a broker does that hangs in one of its channels only. */
async function setup(silentFor?: { classId: number; methodId: number }) {
  await using stack = new AsyncDisposableStack();
  const servers = stack.use(await startServers());
  const { hostname, port } = new URL(servers.amqpUrl.replace("amqp:", "http:"));
  const listener = stack.adopt(
    Deno.listen({ hostname: "127.0.0.1", port: 0 }),
    (each) => each.close(),
  );
  const tuned: number[] = [];
  let silent = silentFor !== undefined;
  (async () => {
    for await (const near of listener) {
      const far = await Deno.connect({ hostname, port: Number(port) });
      far.readable.pipeTo(near.writable).catch(() => {});
      near.readable.pipeThrough(frames((payload, type) => {
        const { getUint16 } = DataView.prototype;
        const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
        if (type !== 1) return true;
        const [classId, methodId] = [getUint16.call(view, 0), getUint16.call(view, 2)];
        // connection.tune-ok: channel-max, frame-max, heartbeat
        if (classId === 10 && methodId === 31) tuned.push(view.getUint16(10));
        return !silent || classId !== silentFor!.classId || methodId !== silentFor!.methodId;
      })).pipeTo(far.writable).catch(() => {});
    }
  })();
  const url = new URL(servers.amqpUrl);
  url.host = `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;
  const owned = stack.move();
  return {
    url: url.href,
    tuned,
    answer: () => silent = false,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Passes on the protocol header and those frames that are let through (AMQP 0-9-1, 4.2.3: type, channel, size, payload, end). */
function frames(pass: (payload: Uint8Array, type: number) => boolean) {
  let rest = new Uint8Array();
  let header = 8;
  return new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, out) {
      const bytes = new Uint8Array(rest.length + chunk.length);
      bytes.set(rest);
      bytes.set(chunk, rest.length);
      let start = header;
      if (header > 0) out.enqueue(bytes.subarray(0, header));
      header = 0;
      while (bytes.length - start >= 8) {
        const size = new DataView(bytes.buffer).getUint32(start + 3);
        const end = start + 8 + size;
        if (bytes.length < end) break;
        const payload = bytes.subarray(start + 7, end - 1);
        if (pass(payload, bytes[start]!)) out.enqueue(bytes.slice(start, end));
        start = end;
      }
      rest = bytes.slice(start);
    },
  });
}

Deno.test("a broker that leaves a question unanswered costs 15 s and a line, and the tool goes on", async () => {
  await using test = await setup({ classId: 50, methodId: 10 }); // queue.declare
  const log = keptLog();
  const signal = new AbortController().signal;
  await using broker = await connectBroker({ amqpUrl: test.url, signal, log });
  const channel = await broker.createChannel();
  const queue = unique("unanswered");
  await assert.rejects(
    eventually(() => channel.assertQueue(queue, { exclusive: true }), 0),
    /Channel (ended|closed)/,
  );
  assert.match(log.lines[0]!, /^Lost the connection to .*: no answer within 15 s\. Reconnecting$/);
  test.answer();
  const next = await broker.createChannel();
  await next.assertQueue(queue, { exclusive: true });
  assert.match(log.lines.at(-1)!, /^Connected to /);
});

Deno.test("a half-open connection is noticed by its heartbeats, with a line", async () => {
  await using test = await setup();
  const cable = layCable(test.url);
  await using _ = cable;
  const log = keptLog();
  const signal = new AbortController().signal;
  await using broker = await connectBroker({ amqpUrl: `${cable.url}?heartbeat=1`, signal, log });
  await broker.createChannel();
  cable.freeze();
  await eventually(() =>
    assert.match(log.lines[0] ?? "", /^Lost the connection .*: no heartbeat came in time/)
  );
  cable.thaw();
  await broker.createChannel();
});

Deno.test("unless the URL says otherwise, three heartbeats without a sign of life are less than 30 s", async () => {
  await using test = await setup();
  const options = { signal: new AbortController().signal, log: keptLog() };
  for (const [url, heartbeat] of [[test.url, 8], [`${test.url}?heartbeat=5`, 5]] as const) {
    await using _broker = await connectBroker({ amqpUrl: url, ...options });
    assert.equal(test.tuned.at(-1), heartbeat);
  }
  assert(3 * test.tuned[0]! < 30);
});

Deno.test("an outage of both connections is told once, and so is its end", async () => {
  await using test = await setup();
  const cable = layCable(test.url);
  await using _ = cable;
  const log = keptLog();
  const signal = new AbortController().signal;
  await using broker = await connectBroker({ amqpUrl: cable.url, signal, log });
  await broker.createChannel();
  await broker.createConfirmChannel();
  cable.cut("down");
  await eventually(() => assert.match(log.lines[0] ?? "", /^Lost the connection/));
  cable.plug();
  await broker.createChannel();
  await broker.createConfirmChannel();
  await eventually(() => assert.match(log.lines.at(-1)!, /^Connected to/));
  assert.equal(log.lines.length, 2, log.lines.join("\n"));
});

Deno.test("a request on a closed channel leaves no timer that ends the connection", async () => {
  await using servers = await startServers();
  await using broker = await connectBroker({ amqpUrl: servers.amqpUrl, log: keptLog() });
  const channel = await broker.createChannel();
  channel.on("error", () => {});
  await assert.rejects(channel.checkQueue(unique("missing")), { code: 404 });
  const started = new Set<ReturnType<typeof setTimeout>>();
  const { setTimeout, clearTimeout } = globalThis;
  try {
    Object.assign(globalThis, {
      setTimeout(work: () => void, ms: number) {
        const timer = setTimeout(work, ms);
        if (ms === 15_000) started.add(timer);
        return timer;
      },
      clearTimeout(timer: ReturnType<typeof setTimeout>) {
        started.delete(timer);
        clearTimeout(timer);
      },
    });
    await assert.rejects(async () => await channel.assertQueue(unique("queue")));
    assert.equal(started.size, 0);
  } finally {
    Object.assign(globalThis, { setTimeout, clearTimeout });
    for (const timer of started) clearTimeout(timer);
  }
});

/** Three nodes, each behind a cable; `list` is their URL. */
async function startNodes() {
  await using stack = new AsyncDisposableStack();
  const nodes = [];
  for (let i = 0; i < 3; i++) {
    const { amqpUrl } = stack.use(await startEmbedded());
    const cable = stack.use(layCable(amqpUrl));
    nodes.push({ ...cable, host: new URL(cable.url).host });
  }
  const owned = stack.move();
  return {
    nodes,
    list: `amqp://guest:guest@${nodes.map(({ host }) => host).join(",")}`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test("of several nodes any is taken, in random order, and the log says which", async () => {
  await using cluster = await startNodes();
  const [first, ...others] = cluster.nodes;
  const reached = async () => {
    const log = keptLog();
    await using _broker = await connectBroker({ amqpUrl: cluster.list, log, timeout: 20_000 });
    return log.lines.join();
  };
  const seen = new Set<string>();
  for (let i = 0; i < 60 && seen.size < 3; i++) seen.add(await reached());
  assert.deepEqual(
    [...seen].sort(),
    cluster.nodes.map(({ host }) => `Connected to amqp://${host}`).sort(),
  );
  for (const node of others) node.cut("down");
  assert.equal(await reached(), `Connected to amqp://${first!.host}`);
});

Deno.test("a connection moves on to a node that is up, and waits when none is", async () => {
  await using cluster = await startNodes();
  const log = keptLog();
  await using broker = await connectBroker({ amqpUrl: cluster.list, log });
  for (let round = 0; round < 2; round++) {
    const host = /^Connected to amqp:\/\/(.*)/.exec(log.lines.at(-1)!)![1];
    const node = cluster.nodes.find((node) => node.host === host)!;
    const { length } = log.lines;
    node.cut("down");
    await eventually(() => assert.match(log.lines.slice(length).at(-1) ?? "", /^Connected/));
    assert.match(log.lines.at(-2)!, new RegExp(`^Lost the connection to amqp://${host}`));
    assert.notEqual(log.lines.at(-1), `Connected to amqp://${host}`);
  }
  for (const node of cluster.nodes) node.cut("down");
  await eventually(() => {
    for (const { host } of cluster.nodes) assert(broker.trouble?.includes(`amqp://${host}: `));
  });
  cluster.nodes[2]!.plug();
  await broker.createChannel();
  assert.equal(log.lines.at(-1), `Connected to amqp://${cluster.nodes[2]!.host}`);
});

Deno.test("nodes that hang leave time for one that answers, within the time for all", async () => {
  await using cluster = await startNodes();
  for (const node of cluster.nodes.slice(1)) node.freeze();
  const options = { amqpUrl: cluster.list, log: keptLog(), timeout: 3000 };
  // One alone may find it at once.
  const brokers = await Promise.all([1, 2, 3, 4, 5].map(() => connectBroker(options)));
  for (const broker of brokers) await broker[Symbol.asyncDispose]();
});

Deno.test("of several nodes one that refuses the login, or is not known, does no harm while another takes it", async () => {
  await using cluster = await startNodes();
  const [host, strange] = cluster.nodes.map(({ host }) => host);
  const list = `amqp://guest:other@${strange},amqp://guest:guest@nowhere.invalid,${host}`;
  for (let i = 0; i < 3; i++) {
    await using _broker = await connectBroker({ amqpUrl: list, log: keptLog() });
  }
  // Users are the cluster's: no node that is away could take it.
  cluster.nodes[0]!.cut("down");
  const refused = { amqpUrl: `${list},127.0.0.1:1`, log: keptLog(), timeout: 20_000 };
  await assert.rejects(connectBroker(refused), ({ message }: Error) => {
    for (
      const reason of [
        `amqp://${strange} refuses this user and password`,
        "unknown host in amqp://nowhere.invalid",
        `amqp://${host}: `,
        "nothing listens at amqp://127.0.0.1:1",
      ]
    ) assert(message.includes(reason), message);
    return !message.includes("tried within");
  });
  // A name that is unknown may be that of a node that is away.
  const stop = new AbortController();
  const log = keptLog();
  const url = "amqp://nowhere.invalid,127.0.0.1:1";
  const waiting = connectBroker({ amqpUrl: url, log, signal: stop.signal });
  await eventually(() => assert.match(log.lines[0] ?? "", /^Cannot connect: unknown host.*; noth/));
  stop.abort();
  await assert.rejects(waiting, { name: "AbortError" });
  await assert.rejects(
    connectBroker({ amqpUrl: "amqp://nowhere.invalid", log }),
    /unknown host in/,
  );
});
