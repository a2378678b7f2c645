/**
 * Logical sessions: which ones clients use. Nothing hangs on them on a standalone server but their listing.
 * https://www.mongodb.com/docs/manual/reference/server-sessions/
 * @module
 */
import { Binary } from "bson";
import type { Doc } from "../values/bson_view.ts";
import { isDoc } from "../values/compare.ts";

/** Minutes after which an unused session is forgotten. */
export const SESSION_MINUTES = 30;
/** Most sessions remembered; the longest unused go first. */
const MAX_SESSIONS = 100_000;

/** SHA-256 of the user's name, which is empty here. */
const NOBODY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

interface Session {
  id: Binary;
  lastUse: Date;
}

/** The sessions in use. */
export class Sessions {
  #known = new Map<string, Session>();
  readonly #nobody = Binary.createFromHexString(NOBODY);

  /** Take note of the `lsid` of a command. */
  used(lsid: unknown): void {
    if (!isDoc(lsid) || !(lsid.id instanceof Binary)) return;
    const key = lsid.id.toString("hex");
    // Removed and set again, the latest used come last.
    this.#known.delete(key);
    this.#known.set(key, { id: lsid.id, lastUse: new Date() });
    if (this.#known.size > MAX_SESSIONS) {
      this.#known.delete(this.#known.keys().next().value!);
    }
  }

  /** Forget a session that its client ended. */
  ended(lsid: unknown): void {
    if (isDoc(lsid) && lsid.id instanceof Binary) this.#known.delete(lsid.id.toString("hex"));
  }

  /** Forget all. */
  clear(): void {
    this.#known.clear();
  }

  /** Forget the sessions that nobody has used for 30 minutes. */
  sweep(now = Date.now()): void {
    for (const [key, { lastUse }] of this.#known) {
      if (now - lastUse.getTime() < SESSION_MINUTES * 60_000) return;
      this.#known.delete(key);
    }
  }

  /** As `$listLocalSessions` shows them. */
  list(): Doc[] {
    return [...this.#known.values()].map(({ id, lastUse }) => ({
      _id: { id, uid: this.#nobody },
      lastUse,
    }));
  }
}
