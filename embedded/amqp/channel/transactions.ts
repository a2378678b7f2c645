/**
 * Methods of the classes tx and confirm; a channel is in one mode or the other.
 * @module
 */
import type { Channel, Transaction } from "./channel.ts";
import { publishTo } from "./publish.ts";
import { Confirms } from "./confirms.ts";
import type { Handlers } from "./handler.ts";
import { ProtocolError } from "../protocol/errors.ts";

function currentTx(channel: Channel): Transaction {
  if (channel.tx) return channel.tx;
  throw new ProtocolError("PRECONDITION_FAILED", "channel is not transactional");
}

/** The handlers of classes tx (spec 1.9) and confirm (RabbitMQ "Publisher Confirms"). */
export const transactionHandlers: Handlers = {
  "tx.select"(channel) {
    if (channel.confirms) {
      throw new ProtocolError("PRECONDITION_FAILED", "cannot switch from confirm to tx mode");
    }
    channel.tx ??= { publishes: [], settlements: [] };
    channel.send("tx.select-ok", {});
  },
  "tx.commit"(channel) {
    const { publishes, settlements } = currentTx(channel);
    channel.tx = { publishes: [], settlements: [] };
    for (const { message, queues, mandatory } of publishes) {
      publishTo(channel, message, queues, mandatory);
      channel.broker.release(message);
    }
    for (const { action, unacked } of settlements) channel.apply(action, unacked);
    // All of it happens in one turn, so it is one transaction on disk; commit-ok goes out after that.
    channel.broker.changed();
    channel.send("tx.commit-ok", {});
  },
  "tx.rollback"(channel) {
    const { publishes, settlements } = currentTx(channel);
    channel.tx = { publishes: [], settlements: [] };
    for (const { message } of publishes) channel.broker.release(message);
    channel.restore(settlements.flatMap(({ unacked }) => unacked));
    channel.send("tx.rollback-ok", {});
  },
  "confirm.select"(channel, { nowait }) {
    if (channel.tx) {
      throw new ProtocolError("PRECONDITION_FAILED", "cannot switch from tx to confirm mode");
    }
    channel.confirms ??= new Confirms();
    if (!nowait) channel.send("confirm.select-ok", {});
  },
};
