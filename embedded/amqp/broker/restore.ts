/**
 * What a broker finds in its store when it starts.
 * @module
 */
import { type Message, restoreMessage } from "../message/message.ts";
import type { Queue } from "../queue/queue.ts";
import { adopt, type Store, type StoredEntry } from "../storage/store.ts";
import { type TopologyHost, VirtualHost } from "./vhost.ts";

/** Where what was stored comes back to. */
export interface RestoreTarget extends TopologyHost {
  readonly vhosts: Map<string, VirtualHost>;
}

/** Bring back all that is stored, with time still standing. @returns the highest position in use */
export function restore(store: Store, target: RestoreTarget): number {
  restoreEntities(store, target);
  const queues = new Map<number, Queue>();
  for (const vhost of target.vhosts.values()) {
    for (const queue of vhost.queues.values()) queues.set(queue.id, queue);
  }
  let highest = restoreDelivered(store, queues);
  for (const id of queues.keys()) highest = Math.max(highest, id);
  return Math.max(highest, restoreMessages(store, target, queues));
}

function restoreEntities(store: Store, target: RestoreTarget): void {
  for (const entity of store.loadEntities()) {
    const name = entity.name.slice(0, entity.name.indexOf("\0"));
    let vhost = target.vhosts.get(name);
    if (!vhost) target.vhosts.set(name, vhost = new VirtualHost(name, target));
    vhost.restore(entity);
  }
}

/**
 * How far each queue was delivered.
 * @returns the highest position: positions go on behind it even when its message is gone, so that what is published next
 * does not count as delivered
 */
function restoreDelivered(store: Store, queues: Map<number, Queue>): number {
  let highest = 0;
  for (const [id, position] of store.loadDelivered()) {
    const queue = queues.get(id);
    if (queue) queue.delivered = queue.deliveredStored = position;
    else store.dropDelivered(id);
    highest = Math.max(highest, position);
  }
  return highest;
}

/** The messages, each once in memory however many queues it is in. @returns the highest position */
function restoreMessages(store: Store, target: TopologyHost, queues: Map<number, Queue>): number {
  let highest = 0;
  const shared = new Map<number, Message>();
  const lost: StoredEntry[] = [];
  const fates = store.loadFates();
  for (const stored of store.load()) {
    highest = Math.max(highest, stored.position);
    const queue = queues.get(stored.queue);
    if (!queue) {
      lost.push(stored);
      continue;
    }
    let message = shared.get(stored.row);
    if (!message) {
      message = restoreMessage(stored.data, stored.properties, stored.died === 1);
      adopt(message, stored.row, 0);
      if (stored.row !== stored.position) shared.set(stored.row, message);
    }
    message.entries++;
    target.hold(message);
    const fate = fates.get(stored.position);
    const redelivered = stored.position <= queue.delivered;
    queue.restore({
      message,
      queue,
      position: stored.position,
      expires: stored.expires,
      redelivered,
      // What was delivered came back, if only because the broker ended.
      returns: fate?.returns ?? (redelivered ? 1 : 0),
      death: fate?.death,
      stored: 2,
    });
  }
  if (lost.length > 0) store.forget(lost);
  return highest;
}
