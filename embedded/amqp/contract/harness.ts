/**
 * What the contract tests share. They run against `AMQP_URL` when it is set, else against a broker of their own; every
 * assertion holds on RabbitMQ 4.0 and on ours, and, unless the test says otherwise, on RabbitMQ 3.10.
 * @module
 */
import { Buffer } from "node:buffer";
import amqp from "amqplib";
import { startBroker } from "../mod.ts";

/** A connection of amqplib. */
export type Connection = Awaited<ReturnType<typeof amqp.connect>>;
/** A channel of amqplib. */
export type Channel = Awaited<ReturnType<Connection["createChannel"]>>;
/** A message as a consumer gets it. */
export type Message = amqp.ConsumeMessage;

/** How a server closed a channel or a connection. The virtual host is always called `/` in its text. */
export interface Close {
  code: number;
  text: string;
}

const patience = 10_000;

/** Wait until `condition` holds. @throws Error after 10 s. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what = condition.toString(),
): Promise<void> {
  const deadline = Date.now() + patience;
  while (!await condition()) {
    if (Date.now() > deadline) throw new Error(`Cannot see in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A promise that must settle within 10 s. */
export function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  return Promise.race([
    promise,
    new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`Cannot see in time: ${what}`)), patience);
    }),
  ]).finally(() => clearTimeout(timer));
}

/** The virtual host of a URL, `/` when it names none. */
export function virtualHostOf(url: string): string {
  return decodeURIComponent(new URL(url).pathname.slice(1)) || "/";
}

function closeOf(error: unknown, url: string): Close {
  const { message, code } = error as { message: string; code?: number };
  const found = /(\d{3}) \([A-Z-]+\) with message "(.*)"/s.exec(message);
  const text = (found?.[2] ?? message).replaceAll(`vhost '${virtualHostOf(url)}'`, "vhost '/'");
  return { code: code ?? Number(found?.[1]), text };
}

/** Whether a server announces RabbitMQ 4 or later. */
export function isVersion4(model: Connection): boolean {
  const { connection } = model as unknown as {
    connection: { serverProperties: { version: string } };
  };
  return parseInt(connection.serverProperties.version) >= 4;
}

/** A fixture: connections and unique names, cleaned up at the end. */
export interface Setup extends AsyncDisposable {
  readonly url: string;
  connect(): Promise<Connection>;
  /** A channel on a connection of its own. */
  channel(): Promise<Channel>;
  confirmChannel(): Promise<amqp.ConfirmChannel>;
  /** A unique name; a queue and an exchange of this name are deleted at the end. */
  name(): string;
  /** Run what makes the server close the channel. */
  closeOfChannel(action: (channel: Channel) => unknown): Promise<Close>;
  /** Run what makes the server close the whole connection. */
  closeOfConnection(action: (channel: Channel) => unknown): Promise<Close>;
  /** How many messages are ready. */
  count(queue: string): Promise<number>;
  /** Whether the server announces RabbitMQ 4 or later, as ours does: what tests ask where RabbitMQ 3.10 did otherwise. */
  isVersion4(): Promise<boolean>;
}

/** Start a fixture. */
export async function setup(): Promise<Setup> {
  const given = Deno.env.get("AMQP_URL");
  const broker = given === undefined ? await startBroker({ port: 0 }) : undefined;
  const url = given ?? broker!.url;
  const connections: Connection[] = [];
  const names: string[] = [];
  const connect = async () => {
    const connection = await within(amqp.connect(url), "connection");
    connection.on("error", () => {});
    connections.push(connection);
    return connection;
  };
  const watch = <T extends Channel>(channel: T): T => {
    channel.on("error", () => {});
    return channel;
  };
  const channel = async () => watch(await (await connect()).createChannel());
  let counter: Channel | undefined;
  return {
    url,
    connect,
    channel,
    confirmChannel: async () => watch(await (await connect()).createConfirmChannel()),
    name() {
      const name = `contract-${crypto.randomUUID()}`;
      names.push(name);
      return name;
    },
    async closeOfChannel(action) {
      const used = await channel();
      const closed = new Promise<Close>((resolve) => {
        used.once("error", (error) => resolve(closeOf(error, url)));
      });
      Promise.resolve(action(used)).catch(() => {});
      return await within(closed, "channel closed by the server");
    },
    async closeOfConnection(action) {
      const connection = await connect();
      const used = watch(await connection.createChannel());
      const closed = new Promise<Close>((resolve) => {
        connection.once("error", (error) => resolve(closeOf(error, url)));
      });
      Promise.resolve(action(used)).catch(() => {});
      return await within(closed, "connection closed by the server");
    },
    async count(queue) {
      counter ??= await channel();
      return (await counter.checkQueue(queue)).messageCount;
    },
    isVersion4: async () => isVersion4(await connect()),
    async [Symbol.asyncDispose]() {
      for (const connection of connections) await connection.close().catch(() => {});
      if (given !== undefined && names.length > 0) {
        const connection = await amqp.connect(url);
        const cleaner = await connection.createChannel();
        for (const name of names) {
          await cleaner.deleteQueue(name);
          await cleaner.deleteExchange(name);
        }
        await connection.close();
      }
      await broker?.[Symbol.asyncDispose]();
    },
  };
}

/** Consume into an array. */
export async function collect(
  channel: Channel,
  queue: string,
  options: amqp.Options.Consume = {},
): Promise<{ messages: Message[]; tag: string; cancelled: () => boolean }> {
  const messages: Message[] = [];
  let cancelled = false;
  const { consumerTag } = await channel.consume(queue, (message) => {
    if (message === null) cancelled = true;
    else messages.push(message);
  }, options);
  return { messages, tag: consumerTag, cancelled: () => cancelled };
}

/** The bodies as text. */
export function texts(messages: Iterable<{ content: Uint8Array }>): string[] {
  return [...messages].map(({ content }) => new TextDecoder().decode(content));
}

/** A body. */
export function bytes(text: string): ReturnType<typeof Buffer.from> {
  return Buffer.from(text);
}

/** Send messages and wait for the confirm of each. */
export async function publishAll(
  channel: amqp.ConfirmChannel,
  exchange: string,
  key: string,
  bodies: string[],
  options: amqp.Options.Publish = {},
): Promise<void> {
  for (const body of bodies) channel.publish(exchange, key, Buffer.from(body), options);
  await within(channel.waitForConfirms(), "confirms");
}

/** Fetch everything that is ready. */
export async function getAll(channel: Channel, queue: string): Promise<amqp.GetMessage[]> {
  const found: amqp.GetMessage[] = [];
  for (;;) {
    const message = await channel.get(queue, { noAck: true });
    if (message === false) return found;
    found.push(message);
  }
}
