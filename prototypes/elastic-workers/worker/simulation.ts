/**
 * An upload that only takes time.
 * @module
 */
import { pause } from "@event-sink/lib";
import type { UploadRequest } from "../message.ts";

/** Shortest and longest time in seconds, by type of request; `""` for all others. */
export type UploadTimes = Map<string, { min: number; max: number }>;

/**
 * Reads `MIN-MAX` or one number of seconds, and such for types: `video=2-20,pdf=1-3,5-10`.
 *
 * @throws {RangeError} when it cannot be read
 */
export function parseUploadTimes(text: string): UploadTimes {
  const times: UploadTimes = new Map();
  for (const part of text.split(",")) {
    const [, type = "", min, max = min] =
      /^(?:([^=]+)=)?(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?$/.exec(part.trim()) ?? [];
    if (min === undefined || Number(min) > Number(max) || Number(max) > 1700) {
      throw new RangeError(
        `expected seconds as MIN-MAX, such as 30-60 or video=2-20,pdf=1-3, 1700 at most, not '${text}'`,
      );
    }
    times.set(type, { min: Number(min), max: Number(max) });
  }
  return times;
}

/** Returns an upload that takes a random time of its type's range; 30 to 60 s when the times name neither the type nor any other. */
export function simulatedUpload(times: UploadTimes): (request: UploadRequest) => Promise<void> {
  return async ({ type }) => {
    const { min, max } = times.get(type) ?? times.get("") ?? { min: 30, max: 60 };
    await pause((min + Math.random() * (max - min)) * 1000);
  };
}
