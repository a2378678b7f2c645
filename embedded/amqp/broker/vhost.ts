/**
 * A virtual host: its exchanges, queues and bindings, and what of them is durable.
 * @module
 */
import { type Binding, type Destination, Exchange, type ExchangeType, route } from "./exchange.ts";
import { type Table, tableBytes, tableOf } from "../protocol/fields.ts";
import type { Message } from "../message/message.ts";
import { Queue, type QueueHost } from "../queue/queue.ts";
import { parseQueueArgs } from "../queue/settings.ts";
import type { Entity, Store } from "../storage/store.ts";

/** The exchanges that every virtual host has (spec 3.1.3; RabbitMQ adds the tracing exchange). */
const predeclared: [name: string, type: ExchangeType, internal: boolean][] = [
  ["", "direct", false],
  ["amq.direct", "direct", false],
  ["amq.fanout", "fanout", false],
  ["amq.topic", "topic", false],
  ["amq.headers", "headers", false],
  ["amq.match", "headers", false],
  ["amq.rabbitmq.trace", "topic", true],
];

/** Routes remembered per virtual host before they are all forgotten. */
const maxRoutes = 20_000;

/** What a virtual host needs of the broker, beyond what its queues need. */
export interface TopologyHost extends QueueHost {
  readonly entities: Pick<Store, "set" | "delete" | "isPending"> | undefined;
  /** What the current method answers tells of a durable change: it waits for the commit. */
  changed(): void;
}

/** A virtual host (spec 2.1.2): its own exchanges, queues and bindings. */
export class VirtualHost {
  readonly exchanges = new Map<string, Exchange>();
  readonly queues = new Map<string, Queue>();
  /** Bindings by what they lead to. */
  private readonly inbound = new Map<Destination, Set<Binding>>();
  private routes = new Map<Exchange, Map<string, readonly Queue[]>>();
  private routeCount = 0;

  /** @param name The name as a binary string. */
  constructor(readonly name: string, private readonly host: TopologyHost) {
    for (const [exchange, type, internal] of predeclared) {
      this.exchanges.set(
        exchange,
        new Exchange(name, exchange, type, true, false, internal, new Map()),
      );
    }
  }

  /** The queues for a message published to `exchange` with these keys. */
  route(exchange: Exchange, keys: readonly string[], message: Message): readonly Queue[] {
    if (keys.length > 1) return route(this, exchange, keys, message).queues;
    const key = keys[0]!;
    let known = this.routes.get(exchange);
    if (!known) this.routes.set(exchange, known = new Map());
    let queues = known.get(key);
    if (queues) return queues;
    const found = route(this, exchange, keys, message);
    queues = found.queues;
    if (found.repeatable) {
      if (++this.routeCount > maxRoutes) this.forgetRoutes();
      else known.set(key, queues);
    }
    return queues;
  }

  private forgetRoutes(): void {
    this.routes = new Map();
    this.routeCount = 0;
  }

  addExchange(exchange: Exchange): void {
    this.exchanges.set(exchange.name, exchange);
    this.forgetRoutes();
    if (exchange.durable) this.save("exchange", exchange.name, exchangeDefinition(exchange));
  }

  removeExchange(exchange: Exchange): void {
    if (this.exchanges.get(exchange.name) !== exchange) return;
    this.exchanges.delete(exchange.name);
    this.forgetRoutes();
    for (const binding of exchange.bindings.values()) this.unbind(binding);
    this.unbindAll(exchange);
    if (exchange.durable) this.erase("exchange", exchange.name);
  }

  addQueue(queue: Queue): void {
    this.queues.set(queue.name, queue);
    this.forgetRoutes();
    if (queue.durable) this.save("queue", queue.name, queueDefinition(queue));
  }

  /** Delete a queue. @returns how many messages were ready in it. */
  removeQueue(queue: Queue): number {
    if (this.queues.get(queue.name) !== queue) return 0;
    this.queues.delete(queue.name);
    this.forgetRoutes();
    this.unbindAll(queue);
    if (queue.durable) this.erase("queue", queue.name);
    return queue.close();
  }

  bind(source: Exchange, destination: Destination, key: string, args: Table): void {
    source.checkBinding(args);
    const id = bindingId(destination, key, args);
    if (source.bindings.has(id)) return this.awaitStored("binding", source.name + "\0" + id);
    const binding: Binding = { source, destination, key, args, id };
    this.connect(binding);
    this.forgetRoutes();
    if (source.durable && destination.durable) {
      this.save("binding", source.name + "\0" + id, bindingDefinition(binding));
    }
  }

  /** Remove a binding, and its source if that was to go with its last binding. */
  unbind(binding: Binding): void {
    const { source, destination } = binding;
    if (source.bindings.get(binding.id) !== binding) return;
    source.unbind(binding);
    const inbound = this.inbound.get(destination);
    inbound?.delete(binding);
    if (inbound?.size === 0) this.inbound.delete(destination);
    this.forgetRoutes();
    if (source.durable && destination.durable) {
      this.erase("binding", source.name + "\0" + binding.id);
    }
    if (source.autoDelete && source.bindings.size === 0) this.removeExchange(source);
  }

  /** Remove all bindings that lead to a queue or an exchange. */
  private unbindAll(destination: Destination): void {
    for (const binding of [...this.inbound.get(destination) ?? []]) this.unbind(binding);
  }

  /** Let an exchange use a binding. */
  private connect(binding: Binding): void {
    const { source, destination } = binding;
    source.bind(binding);
    const inbound = this.inbound.get(destination);
    if (inbound) inbound.add(binding);
    else this.inbound.set(destination, new Set([binding]));
  }

  /** The binding of just these, if there is one. */
  findBinding(
    source: Exchange,
    destination: Destination,
    key: string,
    args: Table,
  ): Binding | undefined {
    return source.bindings.get(bindingId(destination, key, args));
  }

  /**
   * The current method answers that an entity is there, or not there, as it was before: true only once that is stored, which
   * it is not while the disk refuses.
   */
  awaitStored(kind: Entity["kind"], name: string): void {
    if (this.host.entities?.isPending({ kind, name: this.name + "\0" + name })) this.host.changed();
  }

  /** As `awaitStored()`, of a binding that is not there. */
  awaitUnbound(source: Exchange, destination: Destination, key: string, args: Table): void {
    this.awaitStored("binding", source.name + "\0" + bindingId(destination, key, args));
  }

  private save(kind: Entity["kind"], name: string, definition: unknown): void {
    this.host.entities?.set({ kind, name: this.name + "\0" + name, definition });
    this.host.changed();
  }

  private erase(kind: Entity["kind"], name: string): void {
    this.host.entities?.delete({ kind, name: this.name + "\0" + name });
    this.host.changed();
  }

  /** Bring back an entity that was stored. Bindings come after exchanges and queues. */
  restore({ kind, name, definition }: Entity): void {
    const own = name.slice(this.name.length + 1);
    if (kind === "exchange") this.restoreExchange(own, definition as ExchangeDefinition);
    else if (kind === "queue") this.restoreQueue(own, definition as QueueDefinition);
    else this.restoreBinding(definition as BindingDefinition);
  }

  private restoreExchange(name: string, stored: ExchangeDefinition): void {
    const { type, autoDelete, internal, args } = stored;
    this.exchanges.set(
      name,
      new Exchange(this.name, name, type, true, autoDelete, internal, tableOf(args)),
    );
  }

  private restoreQueue(name: string, { id, autoDelete, args: bytes }: QueueDefinition): void {
    const args = tableOf(bytes);
    const settings = parseQueueArgs(name, args);
    this.queues.set(
      name,
      new Queue(this.host, id, this.name, name, true, autoDelete, undefined, args, settings),
    );
  }

  private restoreBinding({ source: from, kind, destination: to, key, args }: BindingDefinition) {
    const source = this.exchanges.get(from);
    const destination = (kind === "queue" ? this.queues : this.exchanges).get(to);
    if (!source || !destination) return;
    const table = tableOf(args);
    const id = bindingId(destination, key, table);
    this.connect({ source, destination, key, args: table, id });
  }
}

function bindingId(destination: Destination, key: string, args: Table): string {
  const sorted = args.size > 1 ? new Map([...args].sort(([a], [b]) => a < b ? -1 : 1)) : args;
  return [destination.kind, destination.name, key, tableBytes(sorted)].join("\0");
}

/** What is stored of a durable exchange; `args` are a table's bytes. */
interface ExchangeDefinition {
  type: ExchangeType;
  autoDelete: boolean;
  internal: boolean;
  args: string;
}

function exchangeDefinition(exchange: Exchange): ExchangeDefinition {
  const { type, autoDelete, internal, args } = exchange;
  return { type, autoDelete, internal, args: tableBytes(args) };
}

/** What is stored of a durable queue. */
interface QueueDefinition {
  id: number;
  autoDelete: boolean;
  args: string;
}

function queueDefinition({ id, autoDelete, args }: Queue): QueueDefinition {
  return { id, autoDelete, args: tableBytes(args) };
}

/** What is stored of a binding between durable ends. */
interface BindingDefinition {
  source: string;
  kind: Destination["kind"];
  destination: string;
  key: string;
  args: string;
}

function bindingDefinition({ source, destination, key, args }: Binding): BindingDefinition {
  const { kind, name } = destination;
  return { source: source.name, kind, destination: name, key, args: tableBytes(args) };
}
