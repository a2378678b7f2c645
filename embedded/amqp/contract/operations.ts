/**
 * Operations carried out on a broker, and what comes of them.
 * @module
 */
import { Buffer } from "node:buffer";
import type amqp from "amqplib";
import type { Connection, Message } from "./harness.ts";
import type { Operation } from "./operations_arbitrary.ts";

/** What is seen after an operation. */
export interface Seen {
  operation: Operation["do"];
  /** The answer, or how the channel was closed. */
  result: unknown;
  /** Messages returned so far. */
  returned: string[];
  /** Messages delivered so far, by consumer. */
  delivered: Record<string, string[]>;
  /** Ready messages and consumers of each queue. */
  counts: Record<string, string>;
}

type Channel = amqp.ConfirmChannel;
type Delivery = amqp.Message | amqp.GetMessage;

const queues = ["q0", "q1", "q2"];
const exchanges = ["e0", "e1", "e2"];
/** Milliseconds that RabbitMQ's queues, which are processes of their own, have to come to where ours are at once. */
const patience = 1500;

/** A channel of one run, opened again when the server closes it. */
class Lane {
  channel!: Channel;
  /** Why the server closed it. */
  closed: string | undefined;
  unacked: { message: Delivery; queue: string }[] = [];
  consumers = new Map<string, string>();
  /** Called when it closes. */
  onClose: () => void = () => {};

  constructor(
    private readonly connection: Connection,
    private readonly number: number,
    private readonly run: Run,
  ) {}

  async open(): Promise<void> {
    this.closed = undefined;
    this.unacked = [];
    this.consumers.clear();
    const channel = await this.connection.createConfirmChannel();
    channel.on("error", ({ message }) => this.closed = this.run.plain(message));
    channel.on("close", () => this.onClose());
    channel.on("return", (message) => this.run.returned.push(textOf(message)));
    this.channel = channel;
  }

  deliver(tag: string, message: Message | null, noAck: boolean): void {
    const list = this.run.delivered[`${this.number} ${tag}`] ??= [];
    if (message === null) return void list.push("cancelled");
    list.push(`${textOf(message)}${message.fields.redelivered ? " again" : ""}`);
    if (!noAck) this.unacked.push({ message, queue: this.consumers.get(tag)! });
  }
}

function textOf({ content }: { content: Uint8Array }): string {
  return new TextDecoder().decode(content);
}

/** One run of a list of operations, with names of its own. */
class Run {
  readonly prefix = crypto.randomUUID().slice(0, 8);
  readonly returned: string[] = [];
  readonly delivered: Record<string, string[]> = {};

  name(short: string): string {
    return queues.includes(short) || exchanges.includes(short) ? `${this.prefix}.${short}` : short;
  }

  /** A text without what differs from run to run. */
  plain(text: string): string {
    return text.replaceAll(`${this.prefix}.`, "").replace(/vhost '[^']*'/g, "vhost")
      .replace(/^.*with message /, "");
  }

  args(args: object): Record<string, unknown> {
    return Object.fromEntries(
      Object.entries(args).map(([k, v]) => [k, typeof v === "string" ? this.name(v) : v]),
    );
  }
}

/**
 * Carry out operations.
 * @param expected What was seen elsewhere: after each operation there is some time to come to the same.
 */
export async function runOperations(
  connection: Connection,
  list: readonly Operation[],
  expected?: readonly Seen[],
): Promise<Seen[]> {
  const run = new Run();
  const lanes = [new Lane(connection, 0, run), new Lane(connection, 1, run)];
  for (const lane of lanes) await lane.open();
  const openAsking = async () => {
    const channel = await connection.createChannel();
    return channel.on("error", () => {});
  };
  let asking = await openAsking();
  const counts = async () => {
    const found: Record<string, string> = {};
    for (const queue of queues) {
      try {
        const { messageCount, consumerCount } = await asking.checkQueue(run.name(queue));
        found[queue] = `${messageCount} ${consumerCount}`;
      } catch {
        asking = await openAsking();
      }
    }
    return found;
  };
  const trace: Seen[] = [];
  for (const [number, operation] of list.entries()) {
    const lane = lanes[operation.channel]!;
    const result = await carryOut(run, lane, operation, `m${number}`);
    const look = async (): Promise<Seen> => ({
      operation: operation.do,
      result: result ?? null,
      counts: await counts(),
      returned: [...run.returned],
      // By name: which consumer gets its first message before the other one depends on the load.
      delivered: Object.fromEntries(
        Object.entries(structuredClone(run.delivered)).sort(([a], [b]) => a < b ? -1 : 1),
      ),
    });
    let seen = await look();
    const wanted = expected && JSON.stringify(expected[number]);
    const end = Date.now() + patience;
    while (wanted !== undefined && JSON.stringify(seen) !== wanted && Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      seen = await look();
    }
    trace.push(seen);
    if (wanted !== undefined && JSON.stringify(seen) !== wanted) break;
  }
  await asking.close();
  for (const { channel } of lanes) await channel.close().catch(() => {});
  const cleaner = await connection.createChannel();
  for (const queue of queues) await cleaner.deleteQueue(run.name(queue));
  for (const exchange of exchanges) await cleaner.deleteExchange(run.name(exchange));
  await cleaner.close();
  return trace;
}

/** @returns the answer, or why the server closed the channel, which is then open again */
async function carryOut(run: Run, lane: Lane, operation: Operation, body: string) {
  let result: unknown;
  try {
    result = await act(run, lane, operation, body);
    // What is not answered may have closed the channel.
    await lane.channel.checkExchange("amq.direct");
  } catch (error) {
    result = run.plain((error as Error).message);
  }
  if (lane.closed !== undefined) {
    result = lane.closed;
    await lane.open();
  }
  return result;
}

async function act(run: Run, lane: Lane, o: Operation, body: string): Promise<unknown> {
  const { channel } = lane;
  switch (o.do) {
    case "declareQueue": {
      const { durable, autoDelete } = o;
      const options = { durable, autoDelete, arguments: run.args(o.args) };
      return (await channel.assertQueue(run.name(o.queue), options)).messageCount;
    }
    case "checkQueue":
      return (await channel.checkQueue(run.name(o.queue))).consumerCount;
    case "deleteQueue":
      return (await channel.deleteQueue(run.name(o.queue), o)).messageCount;
    case "purge":
      return (await channel.purgeQueue(run.name(o.queue))).messageCount;
    case "declareExchange": {
      const { autoDelete, internal, alternate } = o;
      const alternateExchange = alternate && run.name(alternate);
      const options = { autoDelete, internal, ...(alternateExchange && { alternateExchange }) };
      return void await channel.assertExchange(run.name(o.exchange), o.type, options);
    }
    case "deleteExchange":
      return void await channel.deleteExchange(run.name(o.exchange), o);
    case "bind":
      return void await channel.bindQueue(run.name(o.queue), run.name(o.exchange), o.key, o.args);
    case "unbind":
      return void await channel.unbindQueue(run.name(o.queue), run.name(o.exchange), o.key, o.args);
    case "bindExchange":
      return void await channel.bindExchange(run.name(o.to), run.name(o.exchange), o.key, o.args);
    case "publish": {
      const { mandatory, priority, headers } = o;
      const CC = o.copies.map((key) => run.name(key));
      const options = { mandatory, priority, headers, ...(CC.length > 0 && { CC }) };
      return await new Promise((resolve) => {
        lane.onClose = () => resolve("closed");
        channel.publish(
          run.name(o.exchange),
          run.name(o.key),
          Buffer.from(body),
          options,
          (e) => resolve(e ? "rejected" : "confirmed"),
        );
      });
    }
    case "get": {
      const message = await channel.get(run.name(o.queue), { noAck: o.noAck });
      if (!message) return "empty";
      if (!o.noAck) lane.unacked.push({ message, queue: o.queue });
      const { redelivered, messageCount, exchange, routingKey } = message.fields;
      const { headers } = message.properties;
      const from = run.plain(`${exchange}/${routingKey}`);
      return [textOf(message), redelivered, messageCount, from, plainHeaders(run, headers ?? {})];
    }
    case "consume": {
      const { tag, noAck, exclusive, priority } = o;
      const options = { consumerTag: tag, noAck, exclusive, ...(priority && { priority }) };
      if (lane.consumers.has(tag)) return "in use"; // It would close the connection.
      lane.consumers.set(tag, o.queue);
      const receive = (message: Message | null) => lane.deliver(tag, message, noAck);
      return void await channel.consume(run.name(o.queue), receive, options);
    }
    case "cancel":
      await channel.cancel(o.tag);
      return void lane.consumers.delete(o.tag);
    case "prefetch":
      return void await channel.prefetch(o.count);
    case "settle": {
      // Deliveries from several queues come in any order.
      const sorted = lane.unacked.toSorted((a, b) => orderOf(a) < orderOf(b) ? -1 : 1);
      const chosen = sorted[o.which % sorted.length];
      if (!chosen) return "none";
      lane.unacked.splice(lane.unacked.indexOf(chosen), 1);
      if (o.how === "ack") channel.ack(chosen.message);
      else channel.nack(chosen.message, false, o.how === "requeue");
      return orderOf(chosen);
    }
    case "settleAll":
      lane.unacked = [];
      return void (o.how === "ack" ? channel.ackAll() : channel.nackAll(o.how === "requeue"));
    case "recover":
      lane.unacked = [];
      return void await channel.recover();
    case "closeChannel":
      await channel.close();
      return void await lane.open();
  }
}

function orderOf({ message, queue }: { message: Delivery; queue: string }): string {
  return `${textOf(message).padStart(4)} ${queue}`;
}

/** Headers without the time of death. */
function plainHeaders(run: Run, headers: Record<string, unknown>): string {
  const text = JSON.stringify(headers, (key, value) => {
    if (key === "time") return undefined;
    if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1));
  });
  return run.plain(text);
}
