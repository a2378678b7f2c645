/**
 * The methods of AMQP 0-9-1 and RabbitMQ's extensions, once, as a table: the codec is built from it.
 *
 * Source: the AMQP 0-9-1 specification (amqp0-9-1.xml) and RabbitMQ's "AMQP 0-9-1 extensions" page.
 * @module
 */
import type { Table } from "./fields.ts";

/** TypeScript types of the wire types that a method's field may have. */
export interface WireTypes {
  octet: number;
  short: number;
  long: number;
  longlong: number;
  bit: boolean;
  shortstr: string;
  longstr: string;
  table: Table;
}

/** `class * 65536 + method`, then the fields in wire order. Consecutive bits share octets (4.2.5.2). */
export const methods = {
  "connection.start": [0x0a000a, {
    versionMajor: "octet",
    versionMinor: "octet",
    serverProperties: "table",
    mechanisms: "longstr",
    locales: "longstr",
  }],
  "connection.start-ok": [0x0a000b, {
    clientProperties: "table",
    mechanism: "shortstr",
    response: "longstr",
    locale: "shortstr",
  }],
  "connection.secure": [0x0a0014, { challenge: "longstr" }],
  "connection.secure-ok": [0x0a0015, { response: "longstr" }],
  "connection.tune": [0x0a001e, { channelMax: "short", frameMax: "long", heartbeat: "short" }],
  "connection.tune-ok": [0x0a001f, { channelMax: "short", frameMax: "long", heartbeat: "short" }],
  "connection.open": [0x0a0028, {
    virtualHost: "shortstr",
    capabilities: "shortstr",
    insist: "bit",
  }],
  "connection.open-ok": [0x0a0029, { knownHosts: "shortstr" }],
  "connection.close": [0x0a0032, {
    replyCode: "short",
    replyText: "shortstr",
    classId: "short",
    methodId: "short",
  }],
  "connection.close-ok": [0x0a0033, {}],
  "connection.blocked": [0x0a003c, { reason: "shortstr" }],
  "connection.unblocked": [0x0a003d, {}],
  "connection.update-secret": [0x0a0046, { newSecret: "longstr", reason: "shortstr" }],
  "connection.update-secret-ok": [0x0a0047, {}],
  "channel.open": [0x14000a, { outOfBand: "shortstr" }],
  "channel.open-ok": [0x14000b, { channelId: "longstr" }],
  "channel.flow": [0x140014, { active: "bit" }],
  "channel.flow-ok": [0x140015, { active: "bit" }],
  "channel.close": [0x140028, {
    replyCode: "short",
    replyText: "shortstr",
    classId: "short",
    methodId: "short",
  }],
  "channel.close-ok": [0x140029, {}],
  "access.request": [0x1e000a, {
    realm: "shortstr",
    exclusive: "bit",
    passive: "bit",
    active: "bit",
    write: "bit",
    read: "bit",
  }],
  "access.request-ok": [0x1e000b, { ticket: "short" }],
  "exchange.declare": [0x28000a, {
    ticket: "short",
    exchange: "shortstr",
    type: "shortstr",
    passive: "bit",
    durable: "bit",
    autoDelete: "bit",
    internal: "bit",
    nowait: "bit",
    arguments: "table",
  }],
  "exchange.declare-ok": [0x28000b, {}],
  "exchange.delete": [0x280014, {
    ticket: "short",
    exchange: "shortstr",
    ifUnused: "bit",
    nowait: "bit",
  }],
  "exchange.delete-ok": [0x280015, {}],
  "exchange.bind": [0x28001e, {
    ticket: "short",
    destination: "shortstr",
    source: "shortstr",
    routingKey: "shortstr",
    nowait: "bit",
    arguments: "table",
  }],
  "exchange.bind-ok": [0x28001f, {}],
  "exchange.unbind": [0x280028, {
    ticket: "short",
    destination: "shortstr",
    source: "shortstr",
    routingKey: "shortstr",
    nowait: "bit",
    arguments: "table",
  }],
  "exchange.unbind-ok": [0x280033, {}],
  "queue.declare": [0x32000a, {
    ticket: "short",
    queue: "shortstr",
    passive: "bit",
    durable: "bit",
    exclusive: "bit",
    autoDelete: "bit",
    nowait: "bit",
    arguments: "table",
  }],
  "queue.declare-ok": [0x32000b, {
    queue: "shortstr",
    messageCount: "long",
    consumerCount: "long",
  }],
  "queue.bind": [0x320014, {
    ticket: "short",
    queue: "shortstr",
    exchange: "shortstr",
    routingKey: "shortstr",
    nowait: "bit",
    arguments: "table",
  }],
  "queue.bind-ok": [0x320015, {}],
  "queue.purge": [0x32001e, { ticket: "short", queue: "shortstr", nowait: "bit" }],
  "queue.purge-ok": [0x32001f, { messageCount: "long" }],
  "queue.delete": [0x320028, {
    ticket: "short",
    queue: "shortstr",
    ifUnused: "bit",
    ifEmpty: "bit",
    nowait: "bit",
  }],
  "queue.delete-ok": [0x320029, { messageCount: "long" }],
  "queue.unbind": [0x320032, {
    ticket: "short",
    queue: "shortstr",
    exchange: "shortstr",
    routingKey: "shortstr",
    arguments: "table",
  }],
  "queue.unbind-ok": [0x320033, {}],
  "basic.qos": [0x3c000a, { prefetchSize: "long", prefetchCount: "short", global: "bit" }],
  "basic.qos-ok": [0x3c000b, {}],
  "basic.consume": [0x3c0014, {
    ticket: "short",
    queue: "shortstr",
    consumerTag: "shortstr",
    noLocal: "bit",
    noAck: "bit",
    exclusive: "bit",
    nowait: "bit",
    arguments: "table",
  }],
  "basic.consume-ok": [0x3c0015, { consumerTag: "shortstr" }],
  "basic.cancel": [0x3c001e, { consumerTag: "shortstr", nowait: "bit" }],
  "basic.cancel-ok": [0x3c001f, { consumerTag: "shortstr" }],
  "basic.publish": [0x3c0028, {
    ticket: "short",
    exchange: "shortstr",
    routingKey: "shortstr",
    mandatory: "bit",
    immediate: "bit",
  }],
  "basic.return": [0x3c0032, {
    replyCode: "short",
    replyText: "shortstr",
    exchange: "shortstr",
    routingKey: "shortstr",
  }],
  "basic.deliver": [0x3c003c, {
    consumerTag: "shortstr",
    deliveryTag: "longlong",
    redelivered: "bit",
    exchange: "shortstr",
    routingKey: "shortstr",
  }],
  "basic.get": [0x3c0046, { ticket: "short", queue: "shortstr", noAck: "bit" }],
  "basic.get-ok": [0x3c0047, {
    deliveryTag: "longlong",
    redelivered: "bit",
    exchange: "shortstr",
    routingKey: "shortstr",
    messageCount: "long",
  }],
  "basic.get-empty": [0x3c0048, { clusterId: "shortstr" }],
  "basic.ack": [0x3c0050, { deliveryTag: "longlong", multiple: "bit" }],
  "basic.reject": [0x3c005a, { deliveryTag: "longlong", requeue: "bit" }],
  "basic.recover-async": [0x3c0064, { requeue: "bit" }],
  "basic.recover": [0x3c006e, { requeue: "bit" }],
  "basic.recover-ok": [0x3c006f, {}],
  "basic.nack": [0x3c0078, { deliveryTag: "longlong", multiple: "bit", requeue: "bit" }],
  "tx.select": [0x5a000a, {}],
  "tx.select-ok": [0x5a000b, {}],
  "tx.commit": [0x5a0014, {}],
  "tx.commit-ok": [0x5a0015, {}],
  "tx.rollback": [0x5a001e, {}],
  "tx.rollback-ok": [0x5a001f, {}],
  "confirm.select": [0x55000a, { nowait: "bit" }],
  "confirm.select-ok": [0x55000b, {}],
} as const satisfies Record<string, readonly [number, Record<string, keyof WireTypes>]>;

/** Name of a method, such as `queue.declare`. */
export type MethodName = keyof typeof methods;

/** The decoded fields of a method. */
export type Args<N extends MethodName> = {
  -readonly [K in keyof (typeof methods)[N][1]]: (typeof methods)[N][1][K] extends
    infer T extends keyof WireTypes ? WireTypes[T] : never;
};

/** Frame types and the end octet (spec 2.3.5). */
export const frame = { method: 1, header: 2, body: 3, heartbeat: 8, end: 0xce } as const;

/** The class that carries content: `basic`. */
export const basicClass = 60;
