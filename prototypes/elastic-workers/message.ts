/**
 * The messages: what is checked of what comes from outside, and what is sent.
 * @module
 */
import {
  BadMessage,
  type Message,
  type Outgoing,
  printable,
  textOf,
  traceOf,
} from "@event-sink/lib";
import * as v from "valibot";
import { isAppId } from "./topology.ts";

/** Longest time that a report may tell, in seconds: a hundred days. */
const LONGEST = 8_640_000;

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(4096));
const appId = v.pipe(v.string(), v.check(isAppId, "expected the name of an app"));
const seconds = v.pipe(v.number(), v.minValue(0), v.maxValue(LONGEST));

const request = v.object({ type: v.optional(v.pipe(v.string(), v.maxLength(100)), ""), uri: text });
const report = v.object({
  app_id: appId,
  /** From publishing to the end of the upload. */
  response_time: seconds,
  /** From publishing to its start. */
  queue_time: v.optional(seconds),
  upload_time: v.optional(seconds),
  /** Name of the worker. */
  worker: v.optional(text),
});
const started = v.object({ app_id: appId, worker: text });
const scaleRequest = v.object({
  app_id: appId,
  /** Workers wanted, not a difference: a request may come twice, or not at all. */
  workers: v.pipe(v.number(), v.integer(), v.minValue(0)),
  reason: v.optional(v.string(), ""),
});

/** What is to be uploaded. */
export type UploadRequest = v.InferOutput<typeof request>;
/** How long an upload took, in seconds. */
export type Report = v.InferOutput<typeof report>;
/** How many workers an app wants. */
export type ScaleRequest = v.InferOutput<typeof scaleRequest>;

/** Header of a request: when it was published, in milliseconds since the epoch. AMQP's own timestamp counts seconds. */
const PUBLISHED = "published_ms";

/** Checks the items of a file of requests. */
export function requestsOf(parsed: unknown): UploadRequest[] {
  const result = v.safeParse(v.pipe(v.array(request), v.minLength(1)), parsed);
  if (result.success) return result.output;
  throw new TypeError(
    `expected a JSON array of { "type", "uri" }, such as [{ "type": "pdf", "uri": "http://..." }]: ${
      why(result.issues)
    }`,
  );
}

/** The message that asks for an upload. */
export function requestMessage(request: UploadRequest, appId: string, queue: string): Outgoing {
  return {
    routingKey: queue,
    body: JSON.stringify({ ...request, app_id: appId }),
    properties: { contentType: "application/json", headers: { [PUBLISHED]: Date.now() } },
  };
}

/** Reads a request. @throws {BadMessage} when it is none */
export function requestOf(message: Message): UploadRequest {
  return read(request, message);
}

/** When a request was published, in milliseconds since the epoch; undefined when its publisher did not say. */
export function publishedAt({ properties: { headers, timestamp } }: Message): number | undefined {
  const precise = headers?.[PUBLISHED];
  if (typeof precise === "number" && precise > 0) return precise;
  return typeof timestamp === "number" && timestamp > 0 ? timestamp * 1000 : undefined;
}

/**
 * The message that reports an upload. Its id is the request's: an upload that was reported and not acknowledged, as its worker was killed in
 * between, is done and reported again, and counts once.
 *
 * @param request whose trace it belongs to when nothing is traced
 */
export function reportMessage(
  report: Report,
  messageId: string,
  { queue, request }: { queue: string; request: Message },
): Outgoing {
  const headers = traceOf(request.properties.headers);
  return {
    routingKey: queue,
    body: JSON.stringify(report),
    properties: { messageId, contentType: "application/json", headers },
  };
}

/** Reads a report. @throws {BadMessage} when it is none */
export function reportOf(message: Message): Report {
  return read(report, message);
}

/** The message that says that a worker has taken a request, whose id it has. It is no loss when nobody waits for it. */
export function startedMessage(
  body: { app_id: string; worker: string },
  messageId: string,
  queue: string,
): Outgoing {
  return {
    routingKey: queue,
    body: JSON.stringify(body),
    properties: {
      messageId,
      contentType: "application/json",
      persistent: false,
      mandatory: false,
    },
  };
}

/** Reads what {@linkcode startedMessage} says. @throws {BadMessage} when it is something else */
export function startedOf(message: Message): { app_id: string; worker: string } {
  return read(started, message);
}

/**
 * The message that asks for a number of workers. It is sent again and again, so that one who was away knows it soon; what nobody has taken
 * `seconds` later is out of date.
 */
export function scaleMessage(request: ScaleRequest, queue: string, seconds: number): Outgoing {
  return {
    routingKey: queue,
    body: JSON.stringify(request),
    properties: { contentType: "application/json", expiration: seconds * 1000 },
  };
}

/** Reads a scale request. @throws {BadMessage} when it is none */
export function scaleRequestOf(message: Message): ScaleRequest {
  return read(scaleRequest, message);
}

function read<S extends v.GenericSchema>(schema: S, { body }: Message): v.InferOutput<S> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(textOf(body) ?? "");
  } catch {
    throw new BadMessage("it is not JSON");
  }
  const result = v.safeParse(schema, parsed);
  if (result.success) return result.output;
  throw new BadMessage(why(result.issues));
}

/** `response_time: Invalid value: Expected >=0 but received -1`. */
function why([issue]: [v.BaseIssue<unknown>, ...v.BaseIssue<unknown>[]]): string {
  const path = v.getDotPath(issue);
  return printable(path === null ? issue.message : `${path}: ${issue.message}`, 300);
}
