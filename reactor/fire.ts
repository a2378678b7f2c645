#!/usr/bin/env -S deno run --no-prompt --allow-ffi --allow-read --allow-env=LOG_LEVEL,TRACEPARENT,TRACESTATE
/**
 * Fire one event at the router.
 *
 * Run: `deno task fire -e zmq.test -d '{"a":1}'` while a router runs.
 *
 * It may read any file, since `--data` and `--key-file` may name any, and ZeroMQ's library is in Deno's cache.
 * @module
 */
import {
  choiceFlag,
  currentTrace,
  inSpan,
  numberFlag,
  runTool,
  textFlag,
  traceOf,
  UsageError,
} from "@event-sink/lib";
import { Push, Request } from "zeromq";
import { curveClientOptions, keyFlags, type Refusal, watchHandshake } from "./zmq/curve.ts";
import { MAX_EVENT_BYTES } from "./event.ts";
import { inJson } from "./printable.ts";
import { spanOf } from "./trace.ts";

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
    zmqType: choiceFlag("REQ waits for the router's answer, PUSH does not", ["REQ", "PUSH"], {
      value: "TYPE",
      short: "z",
      default: "REQ",
      spelling: (text) => text.replace(/^zmq\./i, "").toUpperCase(),
    }),
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
  const head = { namespace, event_type: flags.eventType };
  const keys = await curveClientOptions(flags);
  const router = { uri, timeout, keys, signal };
  const cause = callersTrace();
  await inSpan(...spanOf("publish", head, { system: "zeromq", cause }), async () => {
    const timestamp = Date.now() / 1000;
    const event = JSON.stringify({ ...head, payload, timestamp, ...currentTrace(cause) });
    if (flags.zmqType === "REQ") return await print(inJson(await request(event, router)));
    await push(event, router);
    await print(` [x] Sent '${inJson(event)}'`);
  });
});

/** The trace of who calls it, such as a handler of the reactor. */
function callersTrace() {
  const [traceparent, tracestate] = ["TRACEPARENT", "TRACESTATE"].map((name) => Deno.env.get(name));
  return traceOf({ traceparent, tracestate });
}

/** Where the router is, and how to reach it. */
interface RouterAddress {
  uri: string;
  /** Seconds to wait for it. */
  timeout: number;
  keys: Awaited<ReturnType<typeof curveClientOptions>>;
  signal: AbortSignal;
}

/** Pushes an event; nobody answers. */
async function push(event: string, router: RouterAddress): Promise<void> {
  // With `immediate` nothing is queued before there is a connection, and with `linger` the process ends after the event is sent.
  const linger = Math.round(router.timeout * 1000);
  const options = { immediate: true, sendTimeout: 0, linger, ...router.keys };
  const { socket, until } = connect(() => new Push(options), router);
  await until(() => socket.writable, "nobody takes events at");
  await socket.send(event);
  socket.close();
}

/** Sends an event, and returns it as the router accepted it. */
async function request(event: string, router: RouterAddress): Promise<string> {
  const options = { immediate: true, sendTimeout: 0, receiveTimeout: 0, linger: 0, ...router.keys };
  const { socket, until } = connect(() => new Request(options), router);
  await until(() => socket.writable, "nobody takes events at");
  await socket.send(event);
  await until(() => socket.readable, "no answer from");
  const answer = (await socket.receive()).toString();
  socket.close();
  const { error } = JSON.parse(answer);
  if (error !== undefined) throw new Error(`Cannot fire: ${error}`);
  return answer;
}

/** Creates a socket and connects it. `until` waits for a condition by looking again and again: the socket's own timeouts crash Deno. */
function connect<T extends Push | Request>(
  create: () => T,
  { uri, timeout, signal }: RouterAddress,
) {
  const end = Date.now() + timeout * 1000;
  let socket: T;
  let refusal: Refusal | undefined;
  try {
    socket = create();
    watchHandshake(socket, (latest) => refusal = latest);
    socket.connect(uri);
  } catch (error) {
    throw new UsageError(`Cannot use '${uri}': ${(error as Error).message}`);
  }
  async function until(condition: () => boolean, what: string) {
    while (!condition()) {
      if (refusal && (refusal.final || Date.now() > end)) {
        throw new Error(`Cannot fire: no connection to ${uri}: ${refusal.why}`);
      }
      if (Date.now() > end) throw new Error(`Cannot fire: ${what} ${uri} within ${timeout} s`);
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    refusal = undefined; // what is refused from now on is another connection
  }
  return { socket, until };
}

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
