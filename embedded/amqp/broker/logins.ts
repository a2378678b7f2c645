/**
 * Who may log in, and how often one may guess.
 * @module
 */
import type { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";

/** Failures that an address has free, then milliseconds from one attempt to the next. */
const free = 5;
const interval = 1000;
/** Attempts of one address that wait for their turn; more are not heard. */
const maxWaiting = 5;
/** Milliseconds after the last failure until all are forgotten. */
const memory = 60_000;
/** Addresses remembered; above it the one longest there is forgotten. */
const maxAddresses = 10_000;

interface Attempts {
  failures: number;
  /** When the last one failed, in epoch milliseconds. */
  failedAt: number;
  /** When the next attempt may be decided, in epoch milliseconds. */
  next: number;
}

/** The one user of a broker. Guessing the password is slowed down by address, from any number of connections. */
export class Logins {
  private readonly user: Buffer;
  private readonly password: Buffer;
  private readonly attempts = new Map<string, Attempts>();

  /**
   * @param credentials User and password as binary strings.
   * @param log Where it is told that an address is slowed down.
   */
  constructor(
    [user, password]: readonly [user: string, password: string],
    private readonly log: (text: string) => void,
  ) {
    this.user = digest(user);
    this.password = digest(password);
  }

  /** @returns milliseconds to wait before deciding on an attempt from `address`; undefined when it is not to be heard at all */
  delay(address: string, now: number): number | undefined {
    const known = this.attempts.get(address);
    if (!known || known.failures < free) return 0;
    if (now - known.failedAt > memory) {
      this.attempts.delete(address);
      return 0;
    }
    const wait = Math.max(0, known.next - now);
    if (wait > maxWaiting * interval) return undefined;
    known.next = now + wait + interval;
    return wait;
  }

  /** Whether user and password, as binary strings, are right. Takes the same time wherever they differ. */
  check(address: string, user: string, password: string, now: number): boolean {
    const rightUser = timingSafeEqual(digest(user), this.user);
    const rightPassword = timingSafeEqual(digest(password), this.password);
    if (rightUser && rightPassword) return true;
    this.countFailure(address, now);
    return false;
  }

  private countFailure(address: string, now: number): void {
    const known = this.attempts.get(address) ?? { failures: 0, failedAt: now, next: now };
    known.failures++;
    known.failedAt = now;
    if (known.failures === free) {
      known.next = now + interval;
      this.log(`${free} logins from ${address} were refused: its further ones are slowed down`);
    }
    this.attempts.set(address, known);
    if (this.attempts.size <= maxAddresses) return;
    for (const oldest of this.attempts.keys()) {
      this.attempts.delete(oldest);
      break;
    }
  }
}

/** Of one length, whatever the secret's. */
function digest(secret: string): Buffer {
  return createHash("sha256").update(secret, "latin1").digest();
}
