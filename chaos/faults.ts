/**
 * The faults: which, when and where, from a seed.
 * @module
 */

/** What can be done to a part of the system, or to a cable between two of them. */
export type Kind =
  | "kill"
  | "stop"
  | "cut"
  | "unplug"
  | "half-open"
  | "channel error"
  | "full disk"
  | "blocked";

/** One of them. */
export interface Fault {
  kind: Kind;
  /** Name of the part or the cable. */
  target: string;
  /** Milliseconds until it is over. */
  lasts: number;
  /** Milliseconds until the next one begins. */
  pause: number;
}

/** How often each is chosen, and how long it lasts at most, in milliseconds. */
const kinds: Record<Kind, { weight: number; longest: number; about: string }> = {
  "kill": { weight: 5, longest: 6000, about: "kill -9, started again after" },
  "stop": { weight: 4, longest: 32_000, about: "SIGSTOP, SIGCONT after" },
  "cut": { weight: 4, longest: 0, about: "connections cut" },
  "unplug": { weight: 2, longest: 32_000, about: "connections cut, no new ones for" },
  "half-open": { weight: 3, longest: 0, about: "connections half-open" },
  "channel error": { weight: 4, longest: 0, about: "channel error" },
  "full disk": { weight: 1, longest: 16_000, about: "disk full for" },
  "blocked": { weight: 1, longest: 16_000, about: "publishers blocked for" },
};

/** Longest time between the beginnings of two faults, in milliseconds. */
const LONGEST_PAUSE = 2000;

/** A sequence of numbers from 0 to 1 that a seed determines (mulberry32, https://github.com/cprosche/mulberry32). */
export function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * The sequence of faults that a seed determines, without end.
 *
 * @param targets what each kind may befall; a kind without any is never chosen
 */
export function* faults(
  random: () => number,
  targets: Partial<Record<Kind, readonly string[]>>,
): Generator<Fault, never> {
  const possible = Object.entries(kinds)
    .filter(([kind]) => (targets[kind as Kind]?.length ?? 0) > 0)
    .flatMap(([kind, { weight }]) => Array.from({ length: weight }, () => kind as Kind));
  const oneOf = <T>(all: readonly T[]) => all[Math.floor(random() * all.length)]!;
  while (true) {
    const kind = oneOf(possible);
    const target = oneOf(targets[kind]!);
    // Most are short, few outlast heartbeats, leases and time limits.
    const lasts = Math.round(kinds[kind].longest * random() ** 4);
    yield { kind, target, lasts, pause: Math.round(LONGEST_PAUSE * random()) };
  }
}

/** One line about a fault. */
export function describe({ kind, target, lasts }: Fault): string {
  const { about, longest } = kinds[kind];
  return `${target}: ${about}${longest > 0 ? ` ${(lasts / 1000).toFixed(1)} s` : ""}`;
}

/** One node killed, or two at the same time. */
export interface Outage {
  /** Which, and how many milliseconds until each is started again. */
  nodes: { name: string; down: number }[];
  /** Milliseconds until the next outage, once all nodes are back. */
  pause: number;
}

/** Longest time until a killed node is started again, and longest pause, in milliseconds. */
const LONGEST_DOWN = 10_000;
const LONGEST_REST = 3000;

/** The sequence of outages that a seed determines, without end: of one node and of two in turn. */
export function* outages(random: () => number, names: readonly string[]): Generator<Outage, never> {
  for (let count = 1;; count = 3 - count) {
    const left = [...names];
    const nodes = Array.from({ length: count }, () => ({
      name: left.splice(Math.floor(random() * left.length), 1)[0]!,
      down: Math.round(LONGEST_DOWN * random()),
    }));
    yield { nodes, pause: Math.round(LONGEST_REST * random()) };
  }
}
