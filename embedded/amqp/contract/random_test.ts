/**
 * Random operations, on RabbitMQ and on the embedded broker: every answer, every delivery and every count must be the same.
 * @module
 */
import assert from "node:assert/strict";
import amqp from "amqplib";
import fc from "fast-check";
import { startBroker } from "../mod.ts";
import { isVersion4 } from "./harness.ts";
import { runOperations } from "./operations.ts";
import { operations } from "./operations_arbitrary.ts";

/** Lists of operations that are tried: as many as `RUNS` says, made from `SEED`. */
const runs = Number(Deno.env.get("RUNS") ?? 200);
const seed = Number(Deno.env.get("SEED") ?? 1);

const rabbitUrl = Deno.env.get("AMQP_URL");

Deno.test({
  name: `${runs} random lists of operations have the same outcome on RabbitMQ`,
  ignore: rabbitUrl === undefined,
  async fn() {
    await using broker = await startBroker({ port: 0 });
    const rabbit = await amqp.connect(rabbitUrl!, { noDelay: true });
    const embedded = await amqp.connect(broker.url, { noDelay: true });
    try {
      if (!isVersion4(rabbit)) return; // It differs in what other tests show.
      await fc.assert(
        fc.asyncProperty(operations, async (list) => {
          const expected = await runOperations(embedded, list);
          const found = await runOperations(rabbit, list, expected);
          assert.deepEqual(found, expected);
        }),
        { numRuns: runs, seed, endOnFailure: false },
      );
    } finally {
      await rabbit.close();
      await embedded.close();
    }
  },
});
