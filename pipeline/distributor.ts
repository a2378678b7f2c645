#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL
/**
 * Make tasks of every object: consumes OBJECT_CREATED, publishes TASK_CREATED.
 *
 * Run: `deno task distributor`.
 * @module
 */
import {
  brokerFlags,
  connectBroker,
  consume,
  deadLetterQueue,
  numberFlag,
  printable,
  runTool,
} from "@event-sink/lib";
import { createEvent, eventOf, inTraceOf, messageOf } from "./event.ts";
import { createPersistentPublisher } from "./persistent_publisher.ts";
import { declare, distributorQueue } from "./topology.ts";

await runTool(import.meta, {
  longRunning: true,
  about: "Make tasks of every object: consume OBJECT_CREATED, publish TASK_CREATED.",
  notes: `Queue: ${distributorQueue}. Dead-letter queue: ${deadLetterQueue(distributorQueue)}`,
  flags: {
    ...brokerFlags,
    tasks: numberFlag("tasks per object", { default: 3, min: 1, max: 1000, whole: true }),
  },
}, async ({ flags, signal, log, print }) => {
  await using broker = await connectBroker({ ...flags, signal, log });
  await using publisher = await createPersistentPublisher(broker, { declare, signal, log });
  await consume(broker, {
    queue: distributorQueue,
    declare,
    prefetch: 100,
    signal,
    ready: () => print(" [*] Waiting for objects. To exit press CTRL+C"),
  }, async (message) => {
    const event = eventOf(message, ["OBJECT_CREATED"]);
    const object = event.data;
    await inTraceOf(event, message, async () => {
      const published: Promise<void>[] = [];
      for (let number = 1; number <= flags.tasks; number++) {
        await publisher.room();
        // The same id when the object comes a second time: no task is counted twice.
        const id = `${object.id}.${number}`;
        const task = { id, source: "/distributor", data: { id, object } };
        const created = createEvent("TASK_CREATED", task, event);
        published.push(publisher.publish(messageOf(created)));
      }
      await Promise.all(published);
    });
    await print(` [x] Object ${printable(object.id)}: ${flags.tasks} tasks`);
  });
});
