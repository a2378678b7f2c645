/**
 * Waiting: for a time, for work with a limit, for the next attempt.
 * @module
 */

/** Waits `ms` milliseconds; rejects with the signal's reason as soon as it aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Waits for work for `ms` milliseconds at most, and returns undefined when it takes longer. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  const expired = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => expired.resolve(undefined), ms);
  try {
    return await Promise.race([work, expired.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** How long to wait between attempts, in milliseconds. */
export interface BackoffOptions {
  /** After the first failure (100). */
  first?: number;
  /** At most (5000). */
  longest?: number;
  /** How many times longer each further wait is (2). */
  factor?: number;
}

/**
 * Milliseconds to wait after a failure: growing, and off by up to a fifth either way, so that those who failed together do not come back
 * together.
 *
 * @param failures how often it has failed in a row, 1 after the first time
 */
export function backoff(
  failures: number,
  { first = 100, longest = 5000, factor = 2 }: BackoffOptions = {},
): number {
  const wait = Math.min(longest, first * factor ** (failures - 1));
  return Math.round(wait * (0.8 + Math.random() * 0.4));
}

const underway = new Set<string>();

/** Names what is being waited for, such as `closing the connection`, so that a tool that cannot end says what hung. */
export async function during<T>(what: string, work: Promise<T>): Promise<T> {
  underway.add(what);
  try {
    return await work;
  } finally {
    underway.delete(what);
  }
}

/** What is being waited for at the moment. */
export function waitingFor(): string {
  return [...underway].join(", ");
}
