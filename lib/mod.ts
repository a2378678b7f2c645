/**
 * What every tool shares: a frame around its work, a connection that recovers, publish, consume, MongoDB.
 * @module
 */
export * from "./flags.ts";
export { amqpUrlFlag, mongoUrlFlag, withoutPassword } from "./url.ts";
export { type Log } from "./log.ts";
export { pause, runTool, type Tool, within } from "./tool.ts";
export { type Broker, brokerText, type Channel, connectBroker } from "./broker.ts";
export { createPublisher, type Outgoing, type Publisher } from "./publish.ts";
export { BadMessage, consume, deadLetterQueue, type Message, republishable } from "./consume.ts";
export { connectMongo } from "./mongo.ts";
export { type Process, startDeno } from "./process.ts";
export { sendFlags, sendInput } from "./input.ts";
export { pausePerDot, shown, textOf } from "./text.ts";
