#!/usr/bin/env -S deno run --no-prompt --allow-ffi --allow-read --allow-env
/**
 * Fire one event at the router.
 *
 * Run: `deno task fire -e zmq.test -d '{"a":1}'` while a router runs.
 * @module
 */
import { numberFlag, runTool, textFlag, UsageError } from "@event-sink/lib";
import { Push, Request } from "zeromq";
import { curveClientOptions, keyFlags, type Refusal, watchHandshake } from "./zmq/curve.ts";
import { MAX_EVENT_BYTES } from "./event.ts";

await runTool(import.meta, {
  about: "Fire one event at the router, and print it as the router accepted it.",
  endsByItself: true,
  flags: {
    eventType: textFlag("what has happened, such as zmq.test", { short: "e", default: "" }),
    data: textFlag("payload: JSON, or @FILE with JSON", {
      value: "JSON",
      short: "d",
      default: "",
    }),
    payload: textFlag("the same as --data", { value: "JSON", short: "p", default: "" }),
    namespace: textFlag("where it comes from", { short: "n", default: "local" }),
    uri: textFlag("where the router listens", {
      value: "URI",
      short: "u",
      default: "tcp://127.0.0.1:55055",
    }),
    zmqType: {
      ...textFlag("REQ waits for the router's answer, PUSH does not", {
        value: "TYPE",
        short: "z",
        default: "REQ",
      }),
      parse(text: string) {
        const type = text.replace(/^zmq\./i, "").toUpperCase();
        if (type === "REQ" || type === "PUSH") return type;
        throw new TypeError(`expected REQ or PUSH, not '${text}'`);
      },
    },
    timeout: numberFlag("seconds to wait for the router", {
      default: 10,
      min: 0.1,
      max: 86_400,
    }),
    ...keyFlags,
  },
}, async ({ flags, print, signal }) => {
  const { namespace, uri, timeout } = flags;
  if (flags.eventType === "") throw new UsageError("--event-type is missing; see --help");
  if (flags.data && flags.payload) throw new UsageError("--data and --payload are the same");
  const payload = await readPayload(flags.data || flags.payload);
  const event = JSON.stringify({
    namespace,
    event_type: flags.eventType,
    payload,
    timestamp: Date.now() / 1000,
  });
  const end = Date.now() + timeout * 1000;
  const keys = await curveClientOptions(flags);
  let refusal: Refusal | undefined;

  /** Not the socket's own timeouts: they crash Deno. */
  async function until(condition: () => boolean, what: string) {
    while (!condition()) {
      if (refusal && (refusal.final || Date.now() > end)) {
        throw new Error(`Cannot fire: no connection to ${uri}: ${refusal.why}`);
      }
      if (Date.now() > end) throw new Error(`Cannot fire: ${what} ${uri} within ${timeout} s`);
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
  const open = <T extends Push | Request>(create: () => T): T => {
    try {
      const socket = create();
      watchHandshake(socket, (latest) => refusal = latest);
      socket.connect(uri);
      return socket;
    } catch (error) {
      throw new UsageError(`Cannot use '${uri}': ${(error as Error).message}`);
    }
  };

  if (flags.zmqType === "PUSH") {
    // Immediate: nothing is queued before there is a connection. Linger: sent before the process has ended.
    const linger = Math.round(timeout * 1000);
    const push = open(() => new Push({ immediate: true, sendTimeout: 0, linger, ...keys }));
    await until(() => push.writable, "nobody takes events at");
    await push.send(event);
    push.close();
    return await print(` [x] Sent '${event}'`);
  }
  const options = { immediate: true, sendTimeout: 0, receiveTimeout: 0, linger: 0, ...keys };
  const request = open(() => new Request(options));
  await until(() => request.writable, "nobody takes events at");
  refusal = undefined;
  await request.send(event);
  await until(() => request.readable, "no answer from");
  const answer = (await request.receive()).toString();
  request.close();
  const { error } = JSON.parse(answer);
  if (error !== undefined) throw new Error(`Cannot fire: ${error}`);
  await print(answer);
});

async function readPayload(data: string): Promise<unknown> {
  if (data === "") return null;
  let text = data;
  if (data.startsWith("@")) {
    try {
      const { size } = await Deno.stat(data.slice(1));
      if (size > MAX_EVENT_BYTES) throw new Error(`it has more than ${MAX_EVENT_BYTES} bytes`);
      text = await Deno.readTextFile(data.slice(1));
    } catch (error) {
      throw new UsageError(`Cannot read '${data.slice(1)}': ${(error as Error).message}`);
    }
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`--data: expected JSON: ${(error as Error).message}`);
  }
}
