/**
 * Space that deleted documents and dropped collections leave is given back to the disk, a little at a time, while
 * nobody writes.
 * @module
 */
import type { Engine } from "./engine.ts";

/** Milliseconds between two looks. */
const INTERVAL = 1000;
/** Free pages that stay for the next documents: 4 MiB. */
const KEPT = 1024;
/** Pages given back in one step, which takes about a millisecond. */
const STEP = 128;
/** Pages given back between two checkpoints: 4 MiB. */
const CHECKPOINT_AFTER = 1024;
/** Least milliseconds between two steps. */
const PAUSE = 10;
/** A step may take this part of the time at most, on a slow disk too. */
const SHARE = 0.1;

/**
 * Start to give space back: when nobody has written for a second, or when most of the file is empty.
 * @param interval milliseconds between two looks whether there is anything to give back
 * @returns stops it
 */
export function startReclaiming(engine: Engine, interval: number = INTERVAL): () => void {
  let timer: ReturnType<typeof setTimeout>;
  let seen = engine.writes;
  let given = 0; // since the last checkpoint
  const look = () => {
    const idle = engine.writes === seen;
    seen = engine.writes;
    const { free, pages } = engine.space();
    return free > KEPT && (idle || free > pages / 2) ? give() : interval;
  };
  const give = () => {
    const started = performance.now();
    const released = engine.release(STEP);
    given += released;
    const done = !released || engine.space().free <= KEPT;
    if (given && (done || given >= CHECKPOINT_AFTER)) {
      engine.checkpoint();
      given = 0;
    }
    return done ? interval : Math.max(PAUSE, (performance.now() - started) / SHARE);
  };
  const turn = () => {
    let pause = interval;
    try {
      pause = given ? give() : look();
    } catch {
      /* a full disk, or one that cannot be read: whoever writes or reads is told; later it may be better */
    }
    timer = setTimeout(turn, pause);
  };
  timer = setTimeout(turn, interval);
  return () => clearTimeout(timer);
}
