#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL,MONGO*,AWS_EXECUTION_ENV,AWS_LAMBDA_*,AWS_REGION,FUNCTION*,K_SERVICE,KUBERNETES_SERVICE_HOST,VERCEL* --allow-read
/**
 * Store every event of the exchange clowder.metrics in MongoDB, one document per message.
 *
 * Run: `deno task recv` in one terminal, `deno task send "hello..."` in another.
 * @module
 */
import {
  brokerFlags,
  connectBroker,
  connectMongo,
  consume,
  deadLetterQueue,
  mongoUrlFlag,
  numberFlag,
  queueFlag,
  runTool,
  schemaFlag,
  schemaOf,
  textFlag,
} from "@event-sink/lib";
import { documentOf } from "./document.ts";
import { batchWriter } from "./batch.ts";
import { declare, defaultQueue } from "./topology.ts";

await runTool(import.meta, {
  longRunning: true,
  about: "Store every event of the exchange clowder.metrics in MongoDB.",
  notes: `Dead-letter queue: ${deadLetterQueue("<queue>")}, such as ${
    deadLetterQueue(defaultQueue)
  }`,
  flags: {
    ...brokerFlags,
    mongoUrl: mongoUrlFlag,
    queue: queueFlag(defaultQueue),
    database: textFlag("database to write to", { value: "NAME", default: "clowder" }),
    collection: textFlag("collection to write to", {
      value: "NAME",
      default: "eventsink.messages",
    }),
    batchSize: numberFlag("documents per write", {
      default: 1000,
      min: 1,
      max: 30_000,
      whole: true,
    }),
    batchDelay: numberFlag("milliseconds to wait for a batch to fill", {
      default: 20,
      max: 60_000,
    }),
    schema: schemaFlag("dead-lettered"),
  },
}, async ({ flags, log, print, signal, fail }) => {
  const { queue } = flags;
  const check = await schemaOf(flags.schema, log);
  await using broker = await connectBroker({ ...flags, signal, log });
  await using mongo = await connectMongo({ url: flags.mongoUrl, signal, log });
  const collection = mongo.client.db(flags.database).collection(flags.collection);
  const write = batchWriter(collection, {
    size: flags.batchSize,
    delay: flags.batchDelay,
    refused: fail,
    signal,
    log,
  });
  const ready = () => print(` [*] Waiting for messages. To exit press CTRL+C`);
  await consume(broker, {
    queue,
    declare: (channel) => declare(channel, queue),
    // One batch is written while the next one fills and the broker refills what the last one has freed.
    prefetch: 3 * flags.batchSize,
    signal,
    ready,
  }, (message) => {
    check(message.body);
    return write(documentOf(message));
  });
});
