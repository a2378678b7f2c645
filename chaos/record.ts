/**
 * A log that is kept rather than shown.
 * @module
 */
import type { Log } from "@event-sink/lib";

/** Keeps what is said under a name, for {@linkcode keepLogs}. */
export function recordLog(name: string): Log & { name: string; log(): string } {
  let all = "";
  const say = (text: string) => void (all += `${new Date().toISOString()} ${text}\n`);
  return {
    name,
    log: () => all,
    debug() {},
    info: say,
    warn: say,
    setLevel() {},
    written: () => Promise.resolve(),
  };
}
