#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env --allow-read
/**
 * Work on tasks: consumes TASK_CREATED, publishes TASK_STARTED, TASK_FINISHED and TASK_FAILED. Start more of them to scale.
 *
 * Run: `deno task processor`.
 * @module
 */
import {
  amqpUrlFlag,
  connectBroker,
  consume,
  createPublisher,
  numberFlag,
  runTool,
  textFlag,
} from "@event-sink/lib";
import { createEvent, eventOf, messageOf } from "./event.ts";
import { progressBars } from "./processor/progress.ts";
import { declare, failedQueue, processorQueue } from "./topology.ts";
import { traced, traceparent } from "./trace.ts";
import { loadHandler, parseRange, pretend, withinLimit } from "./processor/work.ts";

await runTool(import.meta, {
  about:
    "Work on tasks: consume TASK_CREATED, publish TASK_STARTED, TASK_FINISHED and TASK_FAILED.",
  notes: `Queue: ${processorQueue}. Dead-letter queue: ${failedQueue}`,
  flags: {
    amqpUrl: amqpUrlFlag,
    work: {
      ...textFlag("seconds of pretended work per task: a random number in this range", {
        default: "3-5",
      }),
      value: "MIN-MAX",
      parse: (text: string) => (parseRange(text), text),
    },
    handler: textFlag(
      "module that does the work instead: export async function process(object, { signal, attempt, progress })",
      { value: "FILE", default: "" },
    ),
    maxAttempts: numberFlag("attempts before a task is given up", {
      default: 5,
      min: 1,
      max: 20,
      whole: true,
    }),
    // RabbitMQ takes a message back that is not acknowledged within 30 minutes (consumer_timeout).
    timeLimit: numberFlag("seconds that one attempt may take", {
      default: 600,
      min: 0.1,
      max: 1700,
    }),
    concurrency: numberFlag("tasks at the same time", {
      default: 1,
      min: 1,
      max: 10_000,
      whole: true,
    }),
    name: textFlag("name of this processor in its events", {
      default: `processor-${crypto.randomUUID().slice(0, 8)}`,
    }),
  },
}, async ({ flags, signal, log, print }) => {
  const { maxAttempts, name } = flags;
  const work = flags.handler ? await loadHandler(flags.handler) : pretend(parseRange(flags.work));
  const startProgress = await progressBars(flags.concurrency);
  await using broker = await connectBroker({ url: flags.amqpUrl, signal, log });
  await using publisher = await createPublisher(broker, { declare, signal });
  await consume(broker, {
    queue: processorQueue,
    deadLetters: failedQueue,
    declare,
    prefetch: flags.concurrency,
    attempts: maxAttempts,
    signal,
    ready: () => print(" [*] Waiting for tasks. To exit press CTRL+C"),
  }, async (message) => {
    const event = eventOf(message, ["TASK_CREATED"]);
    const { attempt } = message;
    const task = event.data;
    const started = performance.now();
    const seconds = () => Math.round(performance.now() - started) / 1000;

    function report(
      type: "TASK_STARTED" | "TASK_FINISHED" | "TASK_FAILED",
      id: string,
      spent: number,
      reason?: string,
    ): Promise<void> {
      const data = { task, processor: name, attempt, spent, ...reason !== undefined && { reason } };
      return publisher.publish(
        messageOf(
          createEvent(type, { id, source: `/${name}`, data, traceparent: traceparent(event) }),
        ),
      );
    }

    await traced("process", event, async () => {
      // Its confirm need not be waited for before the work: both go through one channel, in order.
      const announced = report("TASK_STARTED", `${task.id}.started.${attempt}`, 0);
      const progress = startProgress(task.id);
      try {
        await Promise.all([
          announced,
          withinLimit(
            flags.timeLimit,
            signal,
            (signal) => work(task.object, { signal, attempt, progress: progress.update }),
          ),
        ]);
      } catch (error) {
        // Only the event; the task itself is retried or dead-lettered by what is thrown.
        if (attempt >= maxAttempts && !signal.aborted) {
          await report("TASK_FAILED", `${task.id}.failed`, seconds(), (error as Error).message);
        }
        throw error;
      } finally {
        progress.end();
      }
      await report("TASK_FINISHED", `${task.id}.finished`, seconds());
    });
    await print(` [x] Task ${task.id} done in ${seconds().toFixed(1)} s`);
  });
});
