/**
 * Login, tuning and opening of a connection (spec 2.2.4).
 * @module
 */
import { Buffer } from "node:buffer";
import type { Broker } from "../broker/broker.ts";
import type { Output } from "../protocol/output.ts";
import type { VirtualHost } from "../broker/vhost.ts";
import { Reader, type Table, toTable, writeLatin1 } from "../protocol/fields.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { Args, MethodName } from "../protocol/spec.ts";

/** What connection.start tells about the broker. */
const serverProperties: Table = toTable({
  capabilities: {
    "publisher_confirms": true,
    "exchange_exchange_bindings": true,
    "basic.nack": true,
    "consumer_cancel_notify": true,
    "connection.blocked": true,
    "consumer_priorities": true,
    "authentication_failure_close": true,
    "per_consumer_qos": true,
    "direct_reply_to": true,
  },
  "cluster_name": "event-sink@localhost",
  copyright: "Copyright (c) the event-sink contributors",
  information: "event-sink embedded broker, for one machine; not RabbitMQ. Licensed under MIT",
  platform: `event-sink on Deno ${Deno.version.deno}`,
  product: "RabbitMQ",
  // The RabbitMQ whose behaviour this is.
  version: "4.0.5",
});

const protocolHeader = "AMQP\0\0\x09\x01";
/** How 0-9 clients spell it; RabbitMQ takes it as 0-9-1. */
const olderHeader = "AMQP\x01\x01\0\x09";
/** AMQP 1.0, alone and with SASL. */
const laterHeaders = ["AMQP\0\x01\0\0", "AMQP\x03\x01\0\0"];
/** What RabbitMQ 4 says that it speaks, to whoever sends what it does not know: AMQP 1.0 with SASL. */
const wantedHeader = "AMQP\x03\x01\0\0";

/** What the broker proposes; a client may ask for less, not for more (RabbitMQ's defaults). */
const proposal = { frameMax: 131072, channelMax: 2047, heartbeat: 60 };
/** Smallest frame that every peer must accept (spec 4.2.3, frame-min-size). */
const minFrame = 4096;

/** Where the connection stands; `closed`: only its end is waited for. */
export type ConnectionState =
  | "header"
  | "starting"
  | "authenticating"
  | "tuning"
  | "opening"
  | "running"
  | "closed";

/** What the handshake settles about a connection. */
export interface Session {
  readonly broker: Broker;
  readonly output: Output;
  state: ConnectionState;
  /** Where the client connects from: its IP address. */
  readonly address: string;
  /** What the client announced that it can do. */
  capabilities: Table;
  /** Who logged in, as a binary string. */
  user: string;
  /** Largest frame of either side, in bytes. */
  frameMax: number;
  /** Channels that may be open at a time. */
  channelMax: number;
  /** Seconds between heartbeats, 0 for none. */
  heartbeat: number;
  /** The virtual host, once it is opened. */
  vhost: VirtualHost | undefined;
  /** Send a method on channel 0. */
  send<N extends MethodName>(name: N, args: Args<N>): void;
  /** Refuse the client for this reason. */
  refuse(reason: ProtocolError): void;
  /** Hang up. */
  end(): void;
}

/**
 * Take the eight bytes that a connection starts with (spec 4.2.2).
 * @returns false when it is no AMQP 0-9-1: the client is told what this is, and is to be hung up on
 */
export function acceptHeader(session: Session, header: string): boolean {
  if (header !== protocolHeader && header !== olderHeader) {
    const { output } = session;
    // AMQP 1.0 itself is not spoken here: who asks for it learns what is.
    const answer = laterHeaders.includes(header) ? protocolHeader : wantedHeader;
    output.reserve(answer.length);
    output.pos += writeLatin1(output.buf, answer, output.pos);
    output.flush();
    return false;
  }
  session.state = "starting";
  session.send("connection.start", {
    versionMajor: 0,
    versionMinor: 9,
    serverProperties,
    mechanisms: "PLAIN AMQPLAIN",
    locales: "en_US",
  });
  return true;
}

/** Handle a method on channel 0. @throws ProtocolError when it is out of turn or refused. */
export function handshake(session: Session, name: MethodName, args: unknown): void {
  if (name === "connection.start-ok" && session.state === "starting") {
    return startOk(session, args as Args<"connection.start-ok">);
  }
  if (name === "connection.tune-ok" && session.state === "tuning") {
    return tuneOk(session, args as Args<"connection.tune-ok">);
  }
  if (name === "connection.open" && session.state === "opening") {
    return open(session, args as Args<"connection.open">);
  }
  if (name === "connection.update-secret" && session.state === "running") {
    return session.send("connection.update-secret-ok", {});
  }
  throw new ProtocolError(
    "CHANNEL_ERROR",
    `unexpected method in connection state ${session.state}`,
  );
}

function startOk(session: Session, args: Args<"connection.start-ok">): void {
  const { broker } = session;
  const capabilities = args.clientProperties.get("capabilities");
  if (capabilities?.t === "F") session.capabilities = capabilities.v;
  const credentials = args.mechanism === "PLAIN"
    ? plain(args.response)
    : args.mechanism === "AMQPLAIN"
    ? amqplain(args.response)
    : undefined;
  if (!credentials) {
    throw new ProtocolError("COMMAND_INVALID", "unknown authentication mechanism or response");
  }
  const wait = broker.logins.delay(session.address, broker.now());
  if (wait === undefined) return session.end();
  session.state = "authenticating";
  const decide = () => authenticate(session, args.mechanism, ...credentials);
  if (wait === 0) decide();
  else setTimeout(decide, wait);
}

function authenticate(session: Session, mechanism: string, user: string, password: string): void {
  const { broker, address } = session;
  if (session.state !== "authenticating") return; // It was closed while it waited.
  if (!broker.logins.check(address, user, password, broker.now())) {
    return session.refuse(
      new ProtocolError(
        "ACCESS_REFUSED",
        `Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`,
      ),
    );
  }
  session.user = user;
  session.state = "tuning";
  session.send("connection.tune", proposal);
}

/** RFC 4616, the authorization identity empty. */
function plain(response: string): [user: string, password: string] | undefined {
  const parts = response.split("\0");
  return parts.length === 3 && parts[0] === "" ? [parts[1]!, parts[2]!] : undefined;
}

/** RabbitMQ's AMQPLAIN: a table's content with LOGIN and PASSWORD. */
function amqplain(response: string): [user: string, password: string] | undefined {
  const buf = Buffer.from(response, "latin1");
  const reader = new Reader(buf).window(0, buf.length);
  const table: Table = new Map();
  while (reader.pos < reader.end) table.set(reader.shortstr(), reader.field());
  const login = table.get("LOGIN"), password = table.get("PASSWORD");
  return login?.t === "S" && password?.t === "S" ? [login.v, password.v] : undefined;
}

function tuneOk(session: Session, args: Args<"connection.tune-ok">): void {
  checkTuned("frame_max", args.frameMax, minFrame, proposal.frameMax);
  checkTuned("channel_max", args.channelMax, 1, proposal.channelMax);
  session.frameMax = args.frameMax;
  session.channelMax = args.channelMax;
  session.heartbeat = args.heartbeat;
  session.state = "opening";
}

function checkTuned(name: string, value: number, min: number, max: number): void {
  const refuse = (shown: string, side: string, limit: string) => {
    throw new ProtocolError(
      "NOT_ALLOWED",
      `negotiated ${name} = ${shown} is ${side} than the ${limit}`,
    );
  };
  if (value !== 0 && value < min) refuse(`${value}`, "lower", `minimum allowed value (${min})`);
  if (value === 0) refuse("0 (no limit)", "higher", `maximum allowed value (${max})`);
  if (value > max) refuse(`${value}`, "higher", `maximum allowed value (${max})`);
}

function open(session: Session, args: Args<"connection.open">): void {
  const vhost = session.broker.vhosts.get(args.virtualHost);
  if (!vhost) throw new ProtocolError("NOT_ALLOWED", `vhost ${args.virtualHost} not found`);
  session.vhost = vhost;
  session.state = "running";
  session.send("connection.open-ok", { knownHosts: "" });
}
