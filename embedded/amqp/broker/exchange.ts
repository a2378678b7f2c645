/**
 * Exchanges, their bindings, and the routing of a message to queues.
 * @module
 */
import type { Table } from "../protocol/fields.ts";
import { checkHeadersBinding, headersMatch } from "./headers.ts";
import type { Message } from "../message/message.ts";
import type { Queue } from "../queue/queue.ts";
import { TopicTrie } from "./topic.ts";

/** The exchange types. */
export const exchangeTypes = ["direct", "fanout", "topic", "headers"] as const;
/** One of `exchangeTypes`. */
export type ExchangeType = typeof exchangeTypes[number];

/** What a binding leads to. */
export type Destination = Queue | Exchange;

/** A binding of a queue or an exchange to an exchange. */
export interface Binding {
  readonly source: Exchange;
  readonly destination: Destination;
  readonly key: string;
  readonly args: Table;
  /** Tells bindings of one exchange apart: destination, key and arguments. */
  readonly id: string;
}

/** How an exchange finds the bindings that a message matches. */
interface Matcher {
  add(binding: Binding): void;
  remove(binding: Binding): void;
  match(key: string, headers: () => Table): Iterable<Binding>;
}

class DirectMatcher implements Matcher {
  private readonly keys = new Map<string, Set<Binding>>();

  add(binding: Binding): void {
    const bindings = this.keys.get(binding.key);
    if (bindings) bindings.add(binding);
    else this.keys.set(binding.key, new Set([binding]));
  }

  remove(binding: Binding): void {
    const bindings = this.keys.get(binding.key);
    bindings?.delete(binding);
    if (bindings?.size === 0) this.keys.delete(binding.key);
  }

  match(key: string): Iterable<Binding> {
    return this.keys.get(key) ?? [];
  }
}

class AllMatcher implements Matcher {
  private readonly bindings = new Set<Binding>();

  constructor(private readonly test?: (binding: Binding, headers: () => Table) => boolean) {}

  add(binding: Binding): void {
    this.bindings.add(binding);
  }

  remove(binding: Binding): void {
    this.bindings.delete(binding);
  }

  match(_key: string, headers: () => Table): Iterable<Binding> {
    const { test } = this;
    return test ? [...this.bindings].filter((binding) => test(binding, headers)) : this.bindings;
  }
}

class TopicMatcher implements Matcher {
  private readonly trie = new TopicTrie<Binding>();

  add(binding: Binding): void {
    this.trie.add(binding.key, binding);
  }

  remove(binding: Binding): void {
    this.trie.remove(binding.key, binding);
  }

  match(key: string): Iterable<Binding> {
    return this.trie.match(key);
  }
}

function makeMatcher(type: ExchangeType): Matcher {
  switch (type) {
    case "direct":
      return new DirectMatcher();
    case "fanout":
      return new AllMatcher();
    case "topic":
      return new TopicMatcher();
    case "headers":
      return new AllMatcher((binding, headers) => headersMatch(binding.args, headers()));
  }
}

/** An exchange with the bindings that leave it. */
export class Exchange {
  readonly kind = "exchange";
  /** Bindings from this exchange, by id. */
  readonly bindings = new Map<string, Binding>();
  private readonly matcher: Matcher;

  constructor(
    readonly vhost: string,
    readonly name: string,
    readonly type: ExchangeType,
    readonly durable: boolean,
    readonly autoDelete: boolean,
    readonly internal: boolean,
    readonly args: Table,
  ) {
    this.matcher = makeMatcher(type);
  }

  /** As error texts name it. */
  get label(): string {
    return `exchange '${this.name}' in vhost '${this.vhost}'`;
  }

  /** The alternate exchange's name, if it has one (RabbitMQ "Alternate Exchanges"). */
  get alternate(): string | undefined {
    const field = this.args.get("alternate-exchange");
    return field?.t === "S" ? field.v : undefined;
  }

  /** Refuse binding arguments that this type cannot take. */
  checkBinding(args: Table): void {
    if (this.type === "headers") checkHeadersBinding(args);
  }

  bind(binding: Binding): void {
    this.bindings.set(binding.id, binding);
    this.matcher.add(binding);
  }

  unbind(binding: Binding): void {
    this.bindings.delete(binding.id);
    this.matcher.remove(binding);
  }

  match(key: string, headers: () => Table): Iterable<Binding> {
    return this.matcher.match(key, headers);
  }
}

/** What routing needs to know of a virtual host. */
export interface Topology {
  readonly exchanges: ReadonlyMap<string, Exchange>;
  readonly queues: ReadonlyMap<string, Queue>;
}

/** The result of routing, and whether the next message with the same keys takes the same way. */
export interface Route {
  readonly queues: readonly Queue[];
  readonly repeatable: boolean;
}

/**
 * The queues that a message published to `start` with `keys` reaches, each once: over exchange-to-exchange bindings, and
 * over the alternate exchange of each exchange where nothing matched.
 */
export function route(
  topology: Topology,
  start: Exchange,
  keys: readonly string[],
  message: Message,
): Route {
  const queues = new Set<Queue>();
  let repeatable = true;
  let decoded: Table | undefined;
  const headers = () => decoded ??= message.properties().headers ?? new Map();
  const seen = new Set([start]);
  for (const exchange of seen) {
    let matched = false;
    if (exchange.type === "headers") repeatable = false;
    for (const key of keys) {
      if (exchange.name === "") {
        const queue = topology.queues.get(key);
        if (queue) queues.add(queue);
        // The default exchange has no alternate.
        matched = true;
        continue;
      }
      for (const { destination } of exchange.match(key, headers)) {
        matched = true;
        if (destination.kind === "queue") queues.add(destination);
        else seen.add(destination); // A Set is iterated over what is added meanwhile, each once.
      }
    }
    if (!matched && exchange.alternate !== undefined) {
      const alternate = topology.exchanges.get(exchange.alternate);
      if (alternate) seen.add(alternate);
    }
  }
  return { queues: [...queues], repeatable };
}
