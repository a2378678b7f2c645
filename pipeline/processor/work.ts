/**
 * What a processor does with the object of a task: nothing but taking time, or what a user's module does.
 * @module
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { pause, UsageError } from "@event-sink/lib";
import type { PipelineObject } from "../event.ts";

/** What a handler gets besides the object. */
export interface WorkContext {
  /** Aborts when the processor is stopped or the time limit is reached. */
  signal: AbortSignal;
  /** How often this task is tried: 1, 2, ... */
  attempt: number;
  /** Shows how far the work is, from 0 to 1, at a terminal. */
  progress: (done: number) => void;
}

/** Does the work. When it throws, the task is tried again later. */
export type Work = (object: PipelineObject, context: WorkContext) => Promise<unknown> | unknown;

/**
 * Reads `MIN-MAX` or one number, in seconds.
 *
 * @throws {RangeError} when it is neither
 */
export function parseRange(text: string): { min: number; max: number } {
  const [, min, max = min] = /^(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?$/.exec(text) ?? [];
  if (min === undefined || Number(min) > Number(max)) {
    throw new RangeError(`expected seconds as MIN-MAX, such as 3-5, or one number, not '${text}'`);
  }
  return { min: Number(min), max: Number(max) };
}

/** Returns work that only takes time: a random number of seconds between `min` and `max`. */
export function pretendedWork({ min, max }: { min: number; max: number }): Work {
  return async (_object, { signal, progress }) => {
    const total = (min + Math.random() * (max - min)) * 1000;
    if (total === 0) return;
    const started = performance.now();
    for (let spent = 0; spent < total; spent = performance.now() - started) {
      progress(spent / total);
      await pause(Math.min(100, total - spent), signal);
    }
    progress(1);
  };
}

/**
 * Loads the function `process` of a user's module.
 *
 * @param file its name, relative to the current directory
 * @throws {UsageError} when the file cannot be loaded or exports no function `process`
 */
export async function loadHandler(file: string): Promise<Work> {
  let module: { process?: unknown };
  try {
    module = await import(pathToFileURL(resolve(file)).href);
  } catch (error) {
    throw new UsageError(`--handler: cannot load '${file}': ${(error as Error).message}`);
  }
  if (typeof module.process === "function") return module.process as Work;
  throw new UsageError(
    `--handler: '${file}' exports no function 'process'; it exports: ${
      Object.keys(module).join(", ") || "nothing"
    }`,
  );
}

/** When to stop waiting for work. */
export interface Limits {
  /** Seconds that it may take. */
  seconds: number;
  /** The processor is stopped. */
  signal: AbortSignal;
  /** Resolves when the work's start has been told; work that nobody knows of is not done when this rejects. */
  announced: Promise<void>;
}

/**
 * Runs work until it is done and announced. Stops waiting for it when a limit is reached; its own signal then aborts.
 *
 * @throws what the work throws, or the reason of the abort
 */
export async function withinLimit(
  { seconds, signal, announced }: Limits,
  work: (signal: AbortSignal) => Promise<unknown> | unknown,
): Promise<void> {
  const limit = new AbortController();
  const timer = setTimeout(() => {
    limit.abort(new Error(`the work took longer than ${seconds} s`));
  }, seconds * 1000);
  announced.catch((error) => limit.abort(error));
  const either = AbortSignal.any([signal, limit.signal]);
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(either.reason);
  either.addEventListener("abort", onAbort);
  try {
    // The limit is the work's; its announcement may wait for the broker.
    await Promise.race([work(either), aborted.promise]);
    clearTimeout(timer);
    await announced;
  } finally {
    either.removeEventListener("abort", onAbort);
    clearTimeout(timer);
  }
}
