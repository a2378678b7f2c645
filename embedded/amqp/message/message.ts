/**
 * A message as the broker holds it: one run of bytes that is copied as it is to consumers and to disk.
 * @module
 */
import { Buffer } from "node:buffer";
import { Reader, writeLatin1 } from "../protocol/fields.ts";
import {
  decodeProperties,
  encodeProperties,
  type Properties,
  scanProperties,
} from "../protocol/properties.ts";

/**
 * Messages up to a size share blocks, where a buffer for each would cost more than its bytes. A block lives as long as any
 * message in it.
 */
const shared = {
  /** The usual. */
  heap: [{ size: 2 * 1024, block: 16 * 1024 }],
  /** While there is a backlog. */
  mapped: [{ size: 2 * 1024, block: 32 * 1024 }, { size: 32 * 1024, block: 256 * 1024 }],
};
/** Mappings to have at most: Linux allows a process 65,530, and V8 needs some. */
const maxMapped = 30_000;

let memory: keyof typeof shared = "heap";
let mapped = 0;
const unmapped = new FinalizationRegistry(() => mapped--);

/**
 * Say whether a backlog of messages is piling up. Its memory is to go back to the system afterwards, which memory from
 * malloc(3), as buffers usually have it, mostly does not: it stays with the process. V8 maps each resizable buffer by itself
 * and unmaps it when it is garbage; reading and writing it is slower, so that only a backlog lives in such buffers.
 */
export function setBacklog(on: boolean): void {
  memory = on ? "mapped" : "heap";
}

/** A run of bytes inside a buffer. */
export interface Run {
  buf: Buffer;
  at: number;
}

/** The blocks that are being filled, with what is used of each, by their size. */
const filling = new Map<number, { buf: Buffer; used: number }>();

/** `size` bytes to write a message into. */
export function allocate(size: number): Run {
  for (const { size: largest, block } of shared[memory]) {
    if (size > largest) continue;
    let current = filling.get(block);
    if (!current || current.used + size > block) {
      current = { buf: makeBuffer(block), used: 0 };
      filling.set(block, current);
    }
    const at = current.used;
    current.used += size;
    return { buf: current.buf, at };
  }
  return { buf: makeBuffer(size), at: 0 };
}

/** A buffer that nothing else shares. */
export function makeBuffer(size: number): Buffer {
  if (memory === "heap" || mapped >= maxMapped) return Buffer.allocUnsafeSlow(size);
  const bytes = new ArrayBuffer(size, { maxByteLength: size });
  mapped++;
  unmapped.register(bytes, undefined);
  return Buffer.from(bytes, 0, size);
}

/**
 * A message. Its bytes are: exchange and routing key as short strings (just as basic.deliver, basic.return and
 * basic.get-ok end with them), the encoded properties, the body.
 */
export class Message {
  /** Queues (and transactions) that hold it. */
  holders = 0;
  /** Its row in the store, 0 while it has none. */
  row = 0;
  /** Rows of the store's `entry` table that refer to it; such a message stands in several durable queues. */
  entries = 0;

  constructor(
    readonly buf: Buffer,
    readonly at: number,
    readonly routeSize: number,
    readonly propertiesSize: number,
    readonly bodySize: number,
    readonly exchange: string,
    readonly routingKey: string,
    readonly persistent: boolean,
    readonly priority: number,
    /** Per-message TTL in milliseconds, -1 for none. */
    readonly ttl: number,
    /** Further routing keys of the CC and BCC headers. */
    readonly copies: readonly string[],
    /** It was dead-lettered: its x-death header is the broker's, not a client's. */
    readonly died = false,
  ) {}

  /** Bytes in memory and on disk. */
  get size(): number {
    return this.routeSize + this.propertiesSize + this.bodySize;
  }

  get bodyAt(): number {
    return this.at + this.routeSize + this.propertiesSize;
  }

  /** All its bytes, not copied. */
  bytes(): Buffer {
    return this.buf.subarray(this.at, this.at + this.size);
  }

  properties(): Properties {
    const start = this.at + this.routeSize;
    return decodeProperties(new Reader(this.buf).window(start, start + this.propertiesSize));
  }

  /** A new message with this body, published anew with other properties, by the broker itself. */
  derive(
    exchange: string,
    keys: readonly string[],
    properties: Properties,
    died = this.died,
  ): Message {
    const encoded = encodeProperties(properties);
    const routeSize = exchange.length + keys[0]!.length + 2;
    const run = allocate(routeSize + encoded.length + this.bodySize);
    writeRoute(run, exchange, keys[0]!);
    run.buf.set(encoded, run.at + routeSize);
    this.buf.copy(
      run.buf,
      run.at + routeSize + encoded.length,
      this.bodyAt,
      this.bodyAt + this.bodySize,
    );
    return new Message(
      run.buf,
      run.at,
      routeSize,
      encoded.length,
      this.bodySize,
      exchange,
      keys[0]!,
      this.persistent,
      this.priority,
      properties.expiration === undefined ? -1 : Number(properties.expiration),
      keys.slice(1),
      died,
    );
  }
}

/** Two short strings are 512 bytes at most. */
const route = Buffer.alloc(512);

/** Write exchange and routing key, as short strings, where a message's bytes start. */
export function writeRoute(run: Run, exchange: string, routingKey: string): void {
  let pos = 0;
  route[pos++] = exchange.length;
  pos += writeLatin1(route, exchange, pos, exchange.length);
  route[pos++] = routingKey.length;
  pos += writeLatin1(route, routingKey, pos, routingKey.length);
  route.copy(run.buf, run.at, 0, pos);
}

const restoring = new Reader(Buffer.alloc(0));
let lastRoute = { exchange: "", routingKey: "" };

/**
 * A message from the bytes that were stored of it, which are copied.
 * @param propertiesSize How many of them are the encoded properties.
 * @param died Whether it was dead-lettered.
 */
export function restoreMessage(data: Uint8Array, propertiesSize: number, died: boolean): Message {
  const run = allocate(data.length);
  run.buf.set(data, run.at);
  restoring.buf = run.buf;
  const reader = restoring.window(run.at, run.at + data.length);
  const exchange = reader.shortstr();
  const routingKey = reader.shortstr();
  // A million messages of a queue share one string.
  if (lastRoute.exchange !== exchange || lastRoute.routingKey !== routingKey) {
    lastRoute = { exchange, routingKey };
  }
  const routeSize = reader.pos - run.at;
  const scan = scanProperties(reader);
  return new Message(
    run.buf,
    run.at,
    routeSize,
    propertiesSize,
    data.length - routeSize - propertiesSize,
    lastRoute.exchange,
    lastRoute.routingKey,
    scan.persistent,
    scan.priority,
    scan.expiration === undefined ? -1 : Number(scan.expiration),
    [],
    died,
  );
}
