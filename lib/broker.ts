/**
 * The broker, by a connection for consuming and one for publishing, opened when they are needed.
 *
 * A broker short of memory or disk stops reading from connections that publish. Acknowledgements sent on one of them would not be read
 * either, and its queues never drain (https://www.rabbitmq.com/docs/connections#flow-control).
 * @module
 */
import type { Channel, ConfirmChannel } from "amqplib";
import { connect, type Connection, type ConnectionOptions } from "./connection.ts";
import { createDeclarer, type QueueType } from "./declare.ts";
import { watch } from "./health.ts";
import { measureBroker } from "./messaging_metrics.ts";
import { createLog, type Log } from "./log.ts";
import { nameOf } from "./url.ts";

export type { Channel, ConfirmChannel };

/** A broker, whose connections recover. Dispose it to close them. */
export interface Broker extends AsyncDisposable {
  /** The URL without its password, for messages. */
  readonly name: string;
  /** What there is to say to the user. */
  readonly log: Log;
  /** Why the broker cannot be used at the moment; undefined while it can. */
  readonly trouble: string | undefined;
  /** Why the broker has blocked publishers (`connection.blocked`: short of memory or disk), while it does. */
  readonly blocked: string | undefined;
  /** Why a connection was given up, once it was. */
  readonly failure: Error | undefined;
  /** Opens a channel for consuming as soon as there is a connection; rejects once that was given up. */
  createChannel(): Promise<Channel>;
  /** Opens a channel for publishing, in confirm mode. */
  createConfirmChannel(): Promise<ConfirmChannel>;
}

/** How to connect. */
export interface ConnectOptions {
  /**
   * AMQP URL, of one node or of several, separated by commas. Its parameters are amqplib's (`heartbeat`, `frameMax`, ...) and for `amqps://`
   * RabbitMQ's: `cacertfile`, `certfile`, `keyfile`, `password` (the key's), `verify=verify_none`, `server_name_indication`,
   * `auth_mechanism=external`. A certificate is a login where the URL has no user.
   */
  amqpUrl: string;
  /** Type of the queues that are declared (the broker's default). */
  queueType?: QueueType;
  /** Gives up connecting (never). */
  signal?: AbortSignal;
  /** Where to say what is being waited for (stderr). */
  log?: Log;
  /** Milliseconds after which the first connection is given up; never by default. */
  timeout?: number;
}

/**
 * Connects, and keeps connecting: tools may start before the broker, and outlive it.
 *
 * @throws when the broker refuses what no further attempt can change (credentials, a virtual host, a host's name, a certificate), or does
 * not answer within `timeout`; a {@linkcode UsageError} when the URL or a file that it names cannot be used
 */
export async function connectBroker(options: ConnectOptions): Promise<Broker> {
  const { amqpUrl: url, queueType, log = createLog(), timeout } = options;
  const declaring = createDeclarer(log, queueType);
  const closing = new AbortController();
  const signal = AbortSignal.any([closing.signal, ...options.signal ? [options.signal] : []]);
  const common: ConnectionOptions = { url, log, signal, down: new Set(), known: false };
  const connections: Connection[] = [];
  let refused: Error | undefined;
  const name = nameOf(url);
  const part = watch({
    name,
    trouble() {
      if (connections.length === 0) return `${name}: it is not connected yet`;
      const { blocked, trouble } = connections.find(({ trouble }) => trouble) ?? {};
      return blocked ? `${name} has blocked publishers: ${blocked}` : trouble;
    },
  });

  const measured = measureBroker(name, connections);

  async function open(more: { timeout?: number } = {}): Promise<Connection> {
    const connection = await connect({ ...common, ...more });
    connections.push(connection);
    return connection;
  }
  // The first connection goes to the side that needs one first, consuming or publishing; the other side opens its own.
  let spare: Promise<Connection> | undefined;
  try {
    spare = Promise.resolve(await open({ timeout }));
  } catch (error) {
    part[Symbol.dispose]();
    measured[Symbol.dispose]();
    throw error;
  }
  common.known = true;
  function take(): Promise<Connection> {
    const taken = spare ?? open();
    spare = undefined;
    taken.catch((error) => refused = closing.signal.aborted ? undefined : error);
    return taken;
  }
  let consuming: Promise<Connection> | undefined;
  let publishing: Promise<Connection> | undefined;
  return {
    name,
    log,
    get trouble() {
      return connections.find(({ trouble }) => trouble)?.trouble;
    },
    get blocked() {
      return connections.find(({ blocked }) => blocked)?.blocked;
    },
    get failure() {
      return refused ?? connections.find(({ failure }) => failure)?.failure;
    },
    createChannel: async () => declaring(await (await (consuming ??= take())).createChannel()),
    createConfirmChannel: async () =>
      declaring(await (await (publishing ??= take())).createConfirmChannel()),
    async [Symbol.asyncDispose]() {
      closing.abort();
      part[Symbol.dispose]();
      measured[Symbol.dispose]();
      await Promise.all(connections.map((connection) => connection.close()));
    },
  };
}

/** The broker's own words, without amqplib's frame around them. */
export function brokerText(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return /with message "(.*)"$/s.exec(message)?.[1] ?? message;
}
