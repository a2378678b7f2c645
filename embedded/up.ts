#!/usr/bin/env -S deno run --no-prompt --allow-net=127.0.0.1,[::1] --allow-read --allow-write --allow-env=TMPDIR
/**
 * Start the embedded broker and store, until Ctrl-C.
 *
 * Run: `deno task up`, and the tools in other terminals. It may read and write everywhere, since `--data` may be anywhere, and
 * neither the shell nor `deno task` can pass its value on to a permission.
 * @module
 */
import { Command, InvalidArgumentError } from "commander";
import { startEmbedded } from "./mod.ts";

const oneMachine =
  "They are for one machine. Beyond it: RabbitMQ and MongoDB, by AMQP_URL and MONGO_URL.";

const elsewhere =
  "Stop what listens there, or choose other ports with --amqp-port and --mongo-port";

function port(text: string): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number <= 65_535) return number;
  throw new InvalidArgumentError("expected a port from 0 (any free one) to 65535");
}

/** RabbitMQ's `max_message_size` goes up to this, in bytes. */
const mostBytes = 512 * 1024 ** 2;

function size(text: string): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= 1 && number <= mostBytes) return number;
  throw new InvalidArgumentError(`expected bytes from 1 to ${mostBytes}`);
}

function directory(text: string): string {
  if (text !== "") return text;
  throw new InvalidArgumentError("expected a directory");
}

async function main(): Promise<number> {
  const command = new Command("up")
    .description(
      `Start the embedded AMQP 0-9-1 broker and MongoDB-compatible store.\n${oneMachine}`,
    )
    .option(
      "--data <DIR>",
      "keep the state in this directory (default: a temporary one that goes with the process)",
      directory,
    )
    .option("--amqp-port <PORT>", "port of the broker, 0 for any free one", port, 5672)
    .option("--mongo-port <PORT>", "port of the store, 0 for any free one", port, 27017)
    .option(
      "--max-message-size <BYTES>",
      "largest body that the broker takes",
      size,
      16 * 1024 ** 2,
    )
    .allowExcessArguments(false)
    // Commander would read further variables for these.
    .configureOutput({ getOutHasColors: () => false, getErrHasColors: () => false })
    .exitOverride((error) => Deno.exit(error.exitCode === 0 ? 0 : 2))
    .parse(Deno.args, { from: "user" });

  const stopped = Promise.withResolvers<void>();
  let first = 0;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      first ||= Date.now();
      // At a terminal one Ctrl-C comes twice: to `deno task`, which passes it on, and to this process.
      if (Date.now() - first > 200) Deno.exit(1);
      stopped.resolve();
    });
  }
  try {
    await using stack = await startEmbedded(command.opts());
    const { data } = command.opts();
    // The first two lines are for programs, the third is to be pasted into another terminal.
    console.log(`AMQP_URL=${stack.amqpUrl}`);
    console.log(`MONGO_URL=${stack.mongoUrl}`);
    console.log(`export AMQP_URL=${stack.amqpUrl} MONGO_URL=${stack.mongoUrl}`);
    console.log(
      data === undefined
        ? "The state goes when this process ends; keep it with --data DIR."
        : `The state is kept in ${data}.`,
    );
    console.log(`${oneMachine} To exit press CTRL+C`);
    await stopped.promise;
    return 0;
  } catch (error) {
    const { message, cause } = error as Error;
    const taken = cause instanceof Deno.errors.AddrInUse;
    console.error(taken ? `${message}. ${elsewhere}` : message);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main());
