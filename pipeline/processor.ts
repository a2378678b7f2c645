#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL --allow-read
/**
 * Work on tasks: consumes TASK_CREATED, publishes TASK_STARTED, TASK_FINISHED and TASK_FAILED. Start more of them to scale.
 *
 * It may read everywhere, as `--handler` names any file.
 *
 * Run: `deno task processor`.
 * @module
 */
import {
  brokerFlags,
  connectBroker,
  consume,
  numberFlag,
  printable,
  runTool,
  textFlag,
} from "@event-sink/lib";
import { type EventOf, eventOf, inTraceOf, type PipelineObject } from "./event.ts";
import { progressOfTasks } from "./processor/progress.ts";
import { reporter } from "./processor/report.ts";
import { createPersistentPublisher } from "./persistent_publisher.ts";
import { declare, failedQueue, processorQueue } from "./topology.ts";
import { loadHandler, parseRange, pretendedWork, withinLimit } from "./processor/work.ts";

/** Characters of a failure's reason that TASK_FAILED tells. */
const REASON_LIMIT = 1000;

await runTool(import.meta, {
  longRunning: true,
  about:
    "Work on tasks: consume TASK_CREATED, publish TASK_STARTED, TASK_FINISHED and TASK_FAILED.",
  notes: `Queue: ${processorQueue}. Dead-letter queue: ${failedQueue}`,
  flags: {
    ...brokerFlags,
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
    // Less than the 30 minutes after which RabbitMQ closes a channel that holds an unacknowledged message
    // (https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout).
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
    name: textFlag("name of this processor in its events, 200 characters at most", {
      default: `processor-${crypto.randomUUID().slice(0, 8)}`,
      parse(text) {
        if (text.length >= 1 && text.length <= 200) return text;
        throw new RangeError(`expected 1 to 200 characters, not ${text.length}`);
      },
    }),
  },
}, async ({ flags, signal, log, print }) => {
  const work = flags.handler
    ? await loadHandler(flags.handler)
    : pretendedWork(parseRange(flags.work));
  const startTask = progressOfTasks();
  await using broker = await connectBroker({ ...flags, signal, log });
  await using publisher = await createPersistentPublisher(broker, { declare, signal, log });

  /** Does the work of a task, and tells of its start and its end. */
  async function processTask(
    event: EventOf<"TASK_CREATED">,
    attempt: number,
    elapsed: () => number,
  ) {
    const task = event.data;
    const report = reporter(publisher, { event, processor: flags.name, attempt });
    const progress = startTask(task.id);
    // The work need not wait for its confirm: one channel keeps the order of TASK_STARTED and TASK_FINISHED.
    const announced = report("TASK_STARTED", `${task.id}.started.${attempt}`, 0);
    try {
      await withinLimit(
        { seconds: flags.timeLimit, signal, announced },
        (signal) => work(copyOf(task.object), { signal, attempt, progress: progress.update }),
      );
    } catch (error) {
      // This only tells of it: consume() retries or dead-letters the task, because of the error thrown below.
      if (attempt >= flags.maxAttempts && !signal.aborted) {
        // A handler may throw anything.
        const reason = printable(error instanceof Error ? error.message : `${error}`, REASON_LIMIT);
        await report("TASK_FAILED", `${task.id}.failed`, elapsed(), reason)
          .catch((failure) => log.warn(`TASK_FAILED of ${task.id}: ${failure.message}`));
      }
      throw error;
    } finally {
      progress.end();
    }
    await report("TASK_FINISHED", `${task.id}.finished`, elapsed());
  }

  await consume(broker, {
    queue: processorQueue,
    deadLetters: failedQueue,
    declare,
    prefetch: flags.concurrency,
    attempts: flags.maxAttempts,
    signal,
    ready: () => print(" [*] Waiting for tasks. To exit press CTRL+C"),
  }, async (message) => {
    const event = eventOf(message, ["TASK_CREATED"]);
    const elapsed = stopwatch();
    await inTraceOf(event, message, () => processTask(event, message.attempt, elapsed));
    await print(` [x] Task ${printable(event.data.id)} done in ${elapsed().toFixed(1)} s`);
  });
});

/**
 * The object as the work may have it: with plain numbers, where the event has some that JavaScript cannot hold, and changing it changes no
 * event.
 */
function copyOf(object: PipelineObject): PipelineObject {
  return JSON.parse(JSON.stringify(object));
}

/**
 * Returns the seconds since now, to the millisecond, by a clock that nobody sets. In Deno on Linux it goes on while the process is stopped
 * (SIGSTOP), and stands still while the machine sleeps.
 */
function stopwatch(): () => number {
  const started = performance.now();
  return () => Math.round(performance.now() - started) / 1000;
}
