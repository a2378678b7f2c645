/**
 * A progress bar for the current task, at a terminal.
 * @module
 */

/** Shows how far one task is. */
export interface Progress {
  /** Shows how much is done, from 0 to 1. */
  update: (done: number) => void;
  /** Removes the bar. */
  end: () => void;
}

/** Returns what starts a task's bar on stderr. It shows nothing without a terminal, nor with several tasks at the same time. */
export async function progressBars(concurrency: number): Promise<(name: string) => Progress> {
  if (concurrency > 1 || !Deno.stderr.isTerminal()) return () => ({ update() {}, end() {} });
  const { default: progress } = await import("cli-progress");
  return (name) => {
    const format = ` {bar} {percentage}% | ${name}`;
    const bar = new progress.SingleBar(
      { format, clearOnComplete: true },
      progress.Presets.shades_classic,
    );
    bar.start(1, 0);
    return { update: (done) => bar.update(done), end: () => bar.stop() };
  };
}
