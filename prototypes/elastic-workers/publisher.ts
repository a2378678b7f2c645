#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-read
/**
 * Ask for uploads: sends the requests of a file, one after the other, to the upload queue of an app.
 *
 * Run: `deno task publisher --app-id e123456 --input-data requests.json --interval 2`.
 * @module
 */
import {
  brokerFlags,
  connectBroker,
  counted,
  createPublisher,
  numberFlag,
  pause,
  printable,
  runTool,
  textFlag,
  UsageError,
} from "@event-sink/lib";
import { requestMessage, requestsOf, type UploadRequest } from "./message.ts";
import { appIdFlag, uploadQueue, uploadQueueFlag } from "./topology.ts";

await runTool(import.meta, {
  about: "Ask for uploads: send the requests of a file to the upload queue of an app.",
  flags: {
    ...brokerFlags,
    appId: appIdFlag,
    uploadQueuename: uploadQueueFlag,
    inputData: textFlag('JSON array of { "type", "uri" }', {
      value: "FILE",
      default: "requests.json",
    }),
    interval: numberFlag("seconds between two requests", { default: 10, max: 86_400 }),
    rate: numberFlag("requests per second, in place of --interval", {
      default: undefined as unknown as number,
      min: 0.0001,
      max: 10_000,
    }),
    count: numberFlag(
      "requests to send, again from the file's beginning after its end; 0 for no end",
      {
        default: undefined as unknown as number,
        whole: true,
      },
    ),
  },
}, async ({ flags, signal, log, print }) => {
  const requests = await readRequests(flags.inputData);
  const count = flags.count ?? requests.length;
  const gap = flags.rate === undefined ? flags.interval * 1000 : 1000 / flags.rate;
  const queue = uploadQueue(flags.uploadQueuename, flags.appId);
  await using broker = await connectBroker({ ...flags, signal, log });
  await using publisher = await createPublisher(broker, {
    declare: (channel) => channel.assertQueue(queue, { durable: true }),
    signal,
  });
  const started = performance.now();
  let sent = 0;
  for (; count === 0 || sent < count; sent++) {
    const early = started + sent * gap - performance.now();
    if (early > 1) await pause(early, signal);
    const request = requests[sent % requests.length]!;
    await publisher.publish(requestMessage(request, flags.appId, queue));
    await print(` [x] Sent '${printable(request.uri, 200)}' to ${queue}`);
  }
  await print(` [x] Sent ${counted(sent, "request")}`);
});

async function readRequests(file: string): Promise<UploadRequest[]> {
  try {
    return requestsOf(JSON.parse(await Deno.readTextFile(file)));
  } catch (error) {
    throw new UsageError(`--input-data: cannot use '${file}': ${(error as Error).message}`);
  }
}
