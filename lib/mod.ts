/**
 * What every tool shares: a frame around its work, a connection that recovers, publish, consume, MongoDB.
 * @module
 */
export * from "./flags.ts";
export { type BrokerFlags, brokerFlags, type QueueType } from "./declare.ts";
export { amqpUrlFlag, mongoUrlFlag, nameOf, withoutPassword } from "./url.ts";
export {
  type About,
  createLog,
  type Level,
  type Log,
  type LogFlags,
  type LogFormat,
  type LogOptions,
} from "./log.ts";
export {
  currentTrace,
  describeSpan,
  inSpan,
  ofThisSpan,
  type OpenSpan,
  type SpanOptions,
  startSpan,
  type Traced,
  type TracedAttempt,
  tracedProcess,
  traceOf,
  tracing,
} from "./trace.ts";
export { runTool, type Tool, type ToolUsage } from "./tool.ts";
export { aborted, backoff, type BackoffOptions, pause, within } from "./wait.ts";
export {
  type Broker,
  brokerText,
  type Channel,
  connectBroker,
  type ConnectOptions,
} from "./broker.ts";
export {
  createPublisher,
  type Outgoing,
  type Publisher,
  type PublisherOptions,
} from "./publish.ts";
export { consume, type ConsumeOptions, deadLetterQueue, type Message } from "./consume.ts";
export { BadMessage, republishable } from "./retry.ts";
export { connectMongo, type Mongo, type OutageOptions, throughOutages } from "./mongo.ts";
export { createCrew, type Crew, type Process, type ProcessOptions, startDeno } from "./process.ts";
export { duration, type ProgressLine, startProgress } from "./progress.ts";
export { queueFlag, recv, type RecvUsage } from "./recv.ts";
export { type Content, send, type SendFlags, type SendUsage, timeoutFlag } from "./send.ts";
export {
  type Counter,
  counter,
  gauge,
  type Histogram,
  histogram,
  type Labels,
  type Metric,
  reading,
} from "./metrics.ts";
export { type Part, watch } from "./health.ts";
export { type Check, schemaFlag, schemaOf } from "./schema.ts";
export { numberText, parseExactly } from "./json.ts";
export { counted, pausePerDot, printable, shown, textOf } from "./text.ts";
export { lines } from "./lines.ts";
export { openQueue, type Reader, renewed } from "./reader.ts";
export { NotSaved, parseSaved, savedLine, type SavedMessage } from "./saved.ts";
export { type Queried, type Where, whereFlag, whereOf } from "./where.ts";
