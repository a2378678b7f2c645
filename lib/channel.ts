/**
 * A channel that is replaced whenever it ends: on a lost connection, a channel error, a cancelled consumer.
 * @module
 */
import type { Channel } from "amqplib";
import { type Broker, brokerText } from "./broker.ts";
import { CLOSE_LIMIT } from "./connection.ts";
import { UsedAsItIs } from "./declare.ts";
import { aborted, backoff, pause, within } from "./wait.ts";

/** AMQP 0-9-1 reply codes that no repetition changes: access refused, not found, locked, precondition failed, not allowed, not implemented. */
const REFUSALS = [403, 404, 405, 406, 503, 530, 540];

/** Whether the broker refused something for good, so that trying again is of no use. */
export function isRefusal(error: unknown): boolean {
  // A TypeError is amqplib's word for what cannot be written, such as a name of more than 255 bytes.
  return error instanceof TypeError || REFUSALS.includes((error as { code?: number }).code ?? 0);
}

/** What to do with each channel. */
export interface ChannelUse<C extends Channel> {
  /** Opens a channel, such as `broker.createChannel`. */
  open: () => Promise<C>;
  /** Declares, subscribes; `end()` ends the channel as if it had closed, with a reason to log. */
  setUp: (channel: C, end: (reason: string) => void) => Promise<void>;
  /** Runs after a channel closed, with the error that the broker closed it with, if it did. */
  closed?: (error: Error | undefined) => Promise<void> | void;
  /** Runs before the channel is closed because `signal` has aborted. */
  finish?: (channel: C) => Promise<unknown>;
  /** Ends it all: the last channel is finished and closed. */
  signal: AbortSignal;
}

/**
 * Keeps a channel open until `signal` aborts.
 *
 * @throws when the broker refuses what `setUp` asks for, or when the connection was given up
 */
export async function keepChannel<C extends Channel>(
  broker: Broker,
  { open, setUp, closed, finish, signal }: ChannelUse<C>,
): Promise<void> {
  const stopped = aborted(signal);
  for (let failures = 0; !signal.aborted;) {
    let channel: C | undefined;
    let error: Error | undefined;
    try {
      const opening = open();
      // A channel that comes too late closes with its connection.
      channel = await Promise.race([opening, stopped]) as C | undefined;
      if (!channel) return void opening.catch(() => {});
      const end = ended(channel, (reason) => error = reason);
      const settingUp = setUp(channel, (reason) => {
        error = new Error(reason);
        channel!.close().catch(() => {}); // it may have closed by itself
      });
      settingUp.catch(() => {}); // nobody waits for it any more once the signal has aborted
      await Promise.race([settingUp, stopped]);
      failures = 0;
      await Promise.race([end, stopped]);
      if (signal.aborted) {
        await finish?.(channel);
        // The answer does not come when the connection breaks meanwhile.
        const gone = Promise.race([channel.close().catch(() => {}), end]);
        // A consumer's last acknowledgements could be lost when the connection ends before the broker has read them.
        if (finish) await within(CLOSE_LIMIT, gone);
        return;
      }
      if (error) broker.log.warn(`The channel has ended: ${brokerText(error)}. Opening another`);
    } catch (failure) {
      if (broker.failure) throw broker.failure;
      if (failure instanceof UsedAsItIs) continue;
      // What was declared a moment ago is not found: somebody has deleted it. Declare it again, but not for ever.
      const deleted = (failure as { code?: number }).code === 404 && failures < 5;
      if (isRefusal(failure) && !deleted) throw new Error(brokerText(failure));
      channel?.close().catch(() => {}); // the error may have closed it
      failures++;
      const text = `Cannot set up a channel: ${brokerText(failure)}. Trying again`;
      if (deleted) broker.log.warn(text);
      else broker.log.debug(text);
    }
    await closed?.(error);
    // While a connection is closing, open() fails at once; during an outage it waits.
    if (failures > 0) await pause(backoff(failures), signal).catch(() => {});
  }
}

function ended(channel: Channel, onError: (error: Error) => void): Promise<void> {
  channel.on("error", onError);
  return new Promise((resolve) => channel.on("close", () => resolve()));
}
