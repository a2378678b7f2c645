#!/usr/bin/env -S deno run --allow-net --allow-env=AMQP_URL,ORDERS_API
/**
 * A consumer as your own project would write it: it takes orders from a queue and passes each on to a web service.
 *
 * Run: `ORDERS_API=https://shop.example/orders deno run --allow-net --allow-env=AMQP_URL,ORDERS_API my_consumer.ts`
 * @module
 */
import { BadMessage, connectBroker, consume, type Message } from "@event-sink/lib";
import * as v from "valibot";

const url = Deno.env.get("AMQP_URL") ?? "amqp://guest:guest@localhost:5672";
const api = Deno.env.get("ORDERS_API") ?? "http://localhost:8080/orders";
const queue = Deno.args[0] ?? "orders";

const Order = v.object({
  id: v.pipe(v.string(), v.nonEmpty()),
  amount: v.pipe(v.number(), v.minValue(0)),
});

/** Trying again makes no bad order good: a BadMessage goes to the dead-letter queue, with its reason. */
function orderOf({ body }: Message): v.InferOutput<typeof Order> {
  try {
    return v.parse(Order, JSON.parse(new TextDecoder().decode(body)));
  } catch (error) {
    throw new BadMessage(`This is no order: ${(error as Error).message}`);
  }
}

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => stop.abort());
}
const { signal } = stop;

try {
  await using broker = await connectBroker({ amqpUrl: url, signal });
  await consume(broker, {
    queue,
    declare: (channel) => channel.assertQueue(queue, { durable: true }),
    prefetch: 10, // so many orders are underway at once
    signal,
    ready: () => console.log(`Waiting for orders in the queue ${queue}`),
  }, async (message) => {
    const order = orderOf(message);
    const response = await fetch(api, {
      method: "POST",
      body: JSON.stringify(order),
      // After a crash an order may come a second time, with the same message id.
      headers: { "Idempotency-Key": `${message.properties.messageId}` },
      signal: AbortSignal.timeout(10_000),
    });
    await response.body?.cancel();
    // Any other error than a BadMessage is tried again, later each time.
    if (!response.ok) throw new Error(`${api} answers ${response.status} to order ${order.id}`);
    console.log(`Order ${order.id} is passed on`);
  }); // returning acknowledges the message
} catch (error) {
  if (error !== signal.reason) throw error; // Ctrl-C before there was a broker
}
