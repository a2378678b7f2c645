/**
 * Guessing passwords is slow: after some failed logins of an address, its next ones are made one at a time, each later
 * than the one before.
 * @module
 */

/** Failed logins of an address that cost nothing: everybody mistypes. */
const FREE = 3;
/** Milliseconds that the first one after them waits; twice as long for each further one. */
const FIRST_DELAY = 100;
/** Milliseconds between two logins at the most. */
const MAX_DELAY = 5000;
/** Milliseconds that a login waits for its turn at the most; it is refused otherwise. */
const MAX_WAIT = 10_000;
/** Milliseconds after which an address's failures are forgotten. */
const MEMORY = 15 * 60_000;
/** Most addresses remembered; those that failed longest ago are forgotten first. */
const MAX_ADDRESSES = 1000;

interface Failures {
  count: number;
  last: number;
  /** When the next login of this address may be made. */
  next: number;
}

/** The failed logins of late, by address. */
export class LoginDelays {
  #failures = new Map<string, Failures>();
  #waiting = new Set<() => void>();
  #closed = false;

  /** @param now the time in milliseconds; for tests */
  constructor(private readonly now: () => number = () => performance.now()) {}

  /**
   * Wait until a login of an address may be made.
   * @returns false when too many wait already: the login must be refused unseen
   */
  async turn(address: string): Promise<boolean> {
    const wait = this.reserve(address);
    if (wait > MAX_WAIT) return false;
    if (wait > 0 && !this.#closed) await this.#pause(wait);
    return true;
  }

  /** Take the next turn of an address; returns the milliseconds until then, above the limit when there is none. */
  reserve(address: string): number {
    const known = this.#failures.get(address);
    const now = this.now();
    if (!known || now - known.last > MEMORY || known.count < FREE) return 0;
    const at = Math.max(now, known.next);
    const wait = at - now;
    if (wait <= MAX_WAIT) {
      known.next = at + Math.min(MAX_DELAY, FIRST_DELAY * 2 ** (known.count - FREE));
    }
    return wait;
  }

  /** A login failed. */
  failed(address: string): void {
    const now = this.now();
    const known = this.#failures.get(address);
    const { count, next } = known && now - known.last <= MEMORY ? known : { count: 0, next: now };
    // Removed and set again, the latest come last.
    this.#failures.delete(address);
    const delay = count + 1 < FREE ? 0 : Math.min(MAX_DELAY, FIRST_DELAY * 2 ** (count + 1 - FREE));
    this.#failures.set(address, { count: count + 1, last: now, next: Math.max(next, now + delay) });
    if (this.#failures.size > MAX_ADDRESSES) {
      this.#failures.delete(this.#failures.keys().next().value!);
    }
  }

  /** A login succeeded: the failures before it were its own. */
  succeeded(address: string): void {
    this.#failures.delete(address);
  }

  /** How many addresses are remembered. */
  get size(): number {
    return this.#failures.size;
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      this.#waiting.add(done);
    });
  }

  /** End all waiting: the store ends. */
  close(): void {
    this.#closed = true;
    for (const done of [...this.#waiting]) done();
  }
}
