/**
 * The lines of a file, as bytes.
 * @module
 */

/**
 * Splits bytes at line feeds; a carriage return before one belongs to it.
 * Not a text decoder: a line that is not UTF-8 is sent as it is.
 */
export async function* lines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  for await (const chunk of stream) {
    let start = 0;
    for (let end; (end = chunk.indexOf(10, start)) !== -1; start = end + 1) {
      parts.push(chunk.subarray(start, end));
      yield line(parts);
      parts = [];
    }
    if (start < chunk.length) parts.push(chunk.subarray(start));
  }
  if (parts.length > 0) yield line(parts);
}

function line(parts: Uint8Array[]): Uint8Array {
  let whole = parts[0]!;
  if (parts.length > 1) {
    whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let offset = 0;
    for (const part of parts) {
      whole.set(part, offset);
      offset += part.length;
    }
  }
  return whole.at(-1) === 13 ? whole.subarray(0, -1) : whole;
}

/** `[1, 2, 3, 7]` to `lines 1 to 3, 7`. */
export function ranges(numbers: number[]): string {
  const runs: [number, number][] = [];
  for (const number of numbers.toSorted((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else runs.push([number, number]);
  }
  const named = runs.slice(0, 20).map(([from, to]) => from === to ? `${from}` : `${from} to ${to}`);
  const more = runs.length > 20 ? ` and ${runs.length - 20} more ranges` : "";
  return `${numbers.length === 1 ? "line" : "lines"} ${named.join(", ")}${more}`;
}
