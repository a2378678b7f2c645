#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,MONGO_URL,MONGODB_*,AWS_EXECUTION_ENV,AWS_LAMBDA_*,AWS_REGION,FUNCTION*,K_SERVICE,KUBERNETES_SERVICE_HOST,VERCEL*,LOG_LEVEL --allow-run --allow-read
/**
 * The main job, end to end: real events go in at the exchange, one consumer echoes them, another one stores them.
 *
 * Run: `deno task demo`. It starts the embedded stack, or uses the servers of AMQP_URL and MONGO_URL, on queues and a collection of
 * its own, which it removes in the end.
 * @module
 */
import {
  amqpUrlFlag,
  connectBroker,
  connectMongo,
  createCrew,
  createPublisher,
  type Crew,
  deadLetterQueue,
  mongoUrlFlag,
  runTool,
  type Tool,
  withoutPassword,
} from "@event-sink/lib";
import examples from "@octokit/webhooks-examples" with { type: "json" };
import { exchange } from "./echo/topology.ts";

const flags = {
  amqpUrl: { ...amqpUrlFlag, default: "", env: ["AMQP_URL"] },
  mongoUrl: { ...mongoUrlFlag, default: "", env: ["MONGO_URL"] },
};

/** Longest time that the consumers may take for all events, in milliseconds. */
const LIMIT = 60_000;

await runTool(import.meta, {
  about:
    "Show events flow from one end to the other, with the embedded stack where no server is given.",
  flags,
}, async (tool) => {
  const { print, signal } = tool;
  const id = crypto.randomUUID().slice(0, 8);
  const queues = { echo: `event.sink.demo-${id}`, mongo: `event.sink.mongo.demo-${id}` };
  const collectionName = `eventsink.demo-${id}`;

  await using stack = new AsyncDisposableStack();
  const told = (line: string) => tool.log.warn(line);
  const { amqpUrl, mongoUrl } = await servers(tool, stack.use(createCrew(tool, told)));
  const env = { AMQP_URL: amqpUrl, MONGO_URL: mongoUrl };

  const broker = stack.use(await connectBroker({ ...tool, amqpUrl, timeout: 10_000 }));
  const mongo = stack.use(await connectMongo({ ...tool, url: mongoUrl }));
  const collection = mongo.client.db("clowder").collection<{ _id: string }>(collectionName);
  stack.defer(async () => {
    const channel = await broker.createChannel();
    for (const queue of Object.values(queues)) {
      await channel.deleteQueue(queue);
      await channel.deleteQueue(deadLetterQueue(queue));
    }
    await collection.drop();
  });

  // Real processes, as a user would start them. They are stopped before their queues are deleted.
  const crew = stack.use(createCrew(tool, told));
  const echo = startConsumer(crew, "echo", ["--queue", queues.echo, "--work", "0"], env);
  const store = startConsumer(
    crew,
    "mongo",
    ["--queue", queues.mongo, "--collection", collectionName],
    env,
  );
  await Promise.all([echo, store].map(({ process }) => process.line(" [*] Waiting for messages")));
  await print("Consumers are running: echo (prints) and mongo (stores)");

  const events = [...payloads(), "hello..."];
  const started = performance.now();
  const publisher = stack.use(await createPublisher(broker));
  const confirmed = await Promise.all(events.map(async (body) => {
    const messageId = crypto.randomUUID();
    await publisher.publish({
      exchange,
      routingKey: "",
      body,
      properties: {
        messageId,
        contentType: body === "hello..." ? "text/plain" : "application/json",
      },
    });
    return messageId;
  }));
  const published = performance.now() - started;
  await print(
    `Published ${confirmed.length} events to the exchange ${exchange}, the broker has confirmed them`,
  );

  const deadline = Date.now() + LIMIT;
  let echoed = 0;
  let stored = 0;
  while (
    (echoed < events.length || stored < events.length) && Date.now() < deadline && !signal.aborted
  ) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    echoed = echo.done();
    stored = await collection.countDocuments({ _id: { $in: confirmed } });
  }
  signal.throwIfAborted();
  const seconds = (performance.now() - started) / 1000;
  const sample = await collection.findOne({ "event.action": { $exists: true } }, {
    sort: { _id: 1 },
  });

  const rate = (count: number, time: number) =>
    `${Math.round(count / time).toLocaleString("en")}/s`;
  await print(`
  sent       ${events.length}   ${examples.length} kinds of real GitHub webhooks, and hello...
  confirmed  ${confirmed.length}   ${rate(confirmed.length, published / 1000)}
  echoed     ${echoed}   of ${events.length}, by consumers/echo
  stored     ${stored}   of ${events.length}, by consumers/mongo
  both done  ${seconds.toFixed(2)} s after the first event, ${
    rate(2 * events.length, seconds)
  } in all

One of the documents in clowder.${collectionName}:
${
    sample
      ? JSON.stringify({ ...sample, ...shortened(sample) }, null, 2).replace(/^/gm, "  ")
      : "  none"
  }

Try next:
  deno task up                      the embedded broker and store, in a first terminal
  deno task recv                    echo every event, in a second one
  deno task send "hello..."         send one, in a third
  cd consumers/mongo && deno task recv
  cd prototypes/worker-queue && deno task recv`);

  const missing = [
    echoed < events.length ? `${events.length - echoed} events were not echoed` : "",
    stored < events.length ? `${events.length - stored} events were not stored` : "",
  ].filter(Boolean);
  if (missing.length > 0) throw new Error(`Cannot finish the demo: ${missing.join(", ")}`);
});

/** The URLs to use; the embedded stack stands in for each that is not set. */
async function servers({ flags: { amqpUrl, mongoUrl }, print }: Tool<typeof flags>, crew: Crew) {
  if (amqpUrl && mongoUrl) {
    await print("Using the servers of AMQP_URL and MONGO_URL");
    return { amqpUrl, mongoUrl };
  }
  const embedded = await crew.startEmbedded();
  const broker = withoutPassword(embedded.amqpUrl);
  await print(`Embedded broker and store are up at ${broker} and ${embedded.mongoUrl}`);
  return { amqpUrl: amqpUrl || embedded.amqpUrl, mongoUrl: mongoUrl || embedded.mongoUrl };
}

function payloads(): string[] {
  return examples.flatMap(({ examples }) => examples.map((payload) => JSON.stringify(payload)));
}

/** A document's long fields cut for the terminal. */
function shortened(document: Record<string, unknown>): Record<string, unknown> {
  const message = `${document.message}`;
  const event = document.event as Record<string, unknown>;
  return {
    message: message.length > 60 ? `${message.slice(0, 60)}...` : message,
    event: Object.fromEntries(
      Object.entries(event).map(([key, value]) => [key, typeof value === "object" ? "..." : value]),
    ),
  };
}

/** A consumer as a user would start it, and how many messages it has done. */
function startConsumer(crew: Crew, consumer: string, args: string[], env: Record<string, string>) {
  let done = 0;
  const process = crew.start("recv", args, {
    cwd: new URL(`./${consumer}/`, import.meta.url),
    env,
    onLine: (line) => done += Number(line === " [x] Done"),
  });
  return { process, done: () => done };
}
