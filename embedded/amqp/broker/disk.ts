/**
 * When what has collected is committed, and what happens while the disk refuses it.
 * @module
 */
import type { Store } from "../storage/store.ts";

/** What nobody waits for is committed after so many milliseconds, or when so many entries have collected. */
const lazyCommit = { delay: 10, entries: 4000 };

/** Milliseconds between the steps in which an idle broker's file shrinks. */
const shrinkDelay = 20;

/**
 * The store as a broker uses it. A commit that fails loses nothing: all of it stays collected, in memory, and is tried again
 * by `retry()`; nothing that waits for it is answered meanwhile.
 */
export class Disk {
  /** Why nothing can be written, undefined while all is well. */
  failure: string | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private shrinkTimer: ReturnType<typeof setTimeout> | undefined;
  /** Nothing was committed since the last tick. */
  private idle = false;

  /**
   * @param store Where everything is written.
   * @param log Where a failure and its end are told, a line each.
   */
  constructor(readonly store: Store, private readonly log: (text: string) => void) {}

  /**
   * The end of a turn.
   * @param urgent Someone waits for the commit; what nobody waits for can collect for a while
   * @returns false when the disk refuses
   */
  endTurn(urgent: boolean): boolean {
    if (!this.store.dirty) return true;
    if (this.failure !== undefined) return false;
    if (urgent || this.store.backlog > lazyCommit.entries) return this.commit();
    this.timer ??= setTimeout(() => this.commit(), lazyCommit.delay);
    return true;
  }

  /** Commit at once. @returns false when the disk refuses, or has refused before and was not yet tried again */
  commit(): boolean {
    return this.failure === undefined && this.attempt();
  }

  /** After a failure: see whether the disk takes it now. @returns whether it does */
  retry(): boolean {
    return this.failure !== undefined && this.attempt();
  }

  /** Called twice a second: a file whose messages are gone gives its space back while nobody writes. */
  tick(): void {
    if (this.idle && this.shrinkTimer === undefined) this.shrink();
    this.idle = true;
  }

  private shrink(): void {
    this.shrinkTimer = undefined;
    if (!this.idle || this.failure !== undefined || this.store.dirty) return;
    try {
      if (this.store.shrink()) this.shrinkTimer = setTimeout(() => this.shrink(), shrinkDelay);
    } catch (error) {
      // It stays as large as it is: nothing is lost by that.
      this.log(`Cannot shrink ${this.store.path}: ${reasonOf(error)}`);
    }
  }

  private attempt(): boolean {
    this.idle = false;
    clearTimeout(this.timer);
    this.timer = undefined;
    const { store, failure } = this;
    try {
      store.commit();
    } catch (error) {
      this.failure = reasonOf(error);
      if (failure !== this.failure) {
        this.log(
          `Cannot write ${store.path}: ${this.failure}. Until it can be written, publishers are blocked, nothing is confirmed, ` +
            "and changes of durable queues, exchanges and bindings are refused with 541",
        );
      }
      return false;
    }
    this.failure = undefined;
    if (failure !== undefined) this.log(`${store.path} can be written again: publishers go on`);
    return true;
  }

  /** Write what can be written and close the file. */
  close(): void {
    clearTimeout(this.shrinkTimer);
    this.failure = undefined;
    if (!this.attempt()) {
      this.log(`Not stored in ${this.store.path}: ${this.store.backlog} changes`);
    }
    this.store.close();
  }
}

function reasonOf(error: unknown): string {
  const { message } = error as Error;
  // SQLITE_FULL, as SQLite words it.
  return message === "database or disk is full" ? "the disk is full" : message;
}
