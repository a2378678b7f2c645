/**
 * What is counted of messages and connections, by the names of OpenTelemetry where it has one
 * (https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/).
 * @module
 */
import { type Counter, counter, DURATIONS, gauge, histogram, reading } from "./metrics.ts";

/** What is counted of the messages of a queue. */
export interface ConsumerCounts {
  received: Counter;
  acknowledged: Counter;
  requeued: Counter;
  retried: Counter;
  deadLettered: Counter;
  /** Takes the seconds that a handler took. */
  seconds: (seconds: number) => void;
  /** Serves what is in hand, until it is disposed. */
  measure(hand: () => { size: number; oldest: number } | undefined): Disposable;
}

/** What is counted of the messages to an exchange. */
export interface PublisherCounts {
  sent: Counter;
  confirmed: Counter;
  returned: Counter;
  /** Takes the seconds that a confirm took. */
  seconds: (seconds: number) => void;
}

/** What is known of a connection. */
export interface ConnectionState {
  readonly trouble: string | undefined;
  readonly blocked: string | undefined;
  measured(): { blockedFor: number; reconnections: number };
}

/** Returns what is counted of the messages of a queue. */
export function consumerCounts(queue: string): ConsumerCounts {
  const labels = { messaging_system: "rabbitmq", messaging_destination_name: queue };
  return {
    received: counter("messaging_client_consumed_messages_total", "Messages delivered", labels),
    acknowledged: counter(
      "event_sink_acknowledged_messages_total",
      "Messages acknowledged: after their effect, or when they were passed on",
      labels,
    ),
    requeued: counter(
      "event_sink_requeued_messages_total",
      "Messages given back to their queue",
      labels,
    ),
    retried: counter(
      "event_sink_retried_messages_total",
      "Messages that failed and are tried again",
      labels,
    ),
    deadLettered: counter(
      "event_sink_dead_lettered_messages_total",
      "Messages passed to the dead-letter queue",
      labels,
    ),
    seconds: histogram(
      "messaging_process_duration_seconds",
      "How long a handler took",
      DURATIONS,
      labels,
    ),
    measure(hand) {
      const measured = new DisposableStack();
      measured.use(gauge(
        "event_sink_in_hand_messages",
        "Messages that are being handled",
        () => hand()?.size ?? 0,
        labels,
      ));
      measured.use(gauge(
        "event_sink_in_hand_oldest_seconds",
        "For how long the oldest of them has been",
        () => hand()?.oldest ?? 0,
        labels,
      ));
      return measured;
    },
  };
}

const byExchange = new Map<string, PublisherCounts>();

/** Returns what is counted of the messages to an exchange. */
export function publisherCounts(exchange: string): PublisherCounts {
  const known = byExchange.get(exchange);
  if (known) return known;
  const labels = { messaging_system: "rabbitmq", messaging_destination_name: exchange };
  const counts = {
    sent: counter("messaging_client_sent_messages_total", "Messages to publish", labels),
    confirmed: counter(
      "event_sink_confirmed_messages_total",
      "Messages that the broker has confirmed",
      labels,
    ),
    returned: counter("event_sink_returned_messages_total", "Messages that no queue took", labels),
    seconds: histogram(
      "messaging_client_operation_duration_seconds",
      "How long a confirm took",
      DURATIONS,
      { ...labels, messaging_operation_name: "publish" },
    ),
  };
  byExchange.set(exchange, counts);
  return counts;
}

/** Serves how many messages wait for their confirm, until it is disposed. */
export function measureUnconfirmed(size: () => number): Disposable {
  return gauge("event_sink_unconfirmed_messages", "Messages that wait for their confirm", size);
}

/** Serves how the connections to a broker do, until it is disposed. */
export function measureBroker(name: string, connections: readonly ConnectionState[]): Disposable {
  const labels = { messaging_system: "rabbitmq", server_address: name };
  const measured = new DisposableStack();
  measured.use(gauge(
    "event_sink_broker_connected",
    "1 while no connection to the broker is lost",
    () =>
      connections.length > 0 && connections.every(({ trouble, blocked }) => !trouble || blocked)
        ? 1
        : 0,
    labels,
  ));
  measured.use(reading({
    kind: "counter",
    name: "event_sink_broker_reconnections_total",
    help: "How often a connection to the broker was made anew",
    labels,
    read: () => sum(connections.map((each) => each.measured().reconnections)),
  }));
  measured.use(reading({
    kind: "counter",
    name: "event_sink_broker_blocked_seconds_total",
    help: "How long the broker has blocked publishers",
    labels,
    read: () => sum(connections.map((each) => each.measured().blockedFor)),
  }));
  return measured;
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
