/**
 * Field tables passed over, checked but not decoded: what a message carries through the broker.
 * @module
 */
import { finite, type Reader, unknownType } from "./fields.ts";

/** Bytes of the values that have always the same size, by the code of their type tag. */
const fieldSizes: (number | undefined)[] = [];
for (
  const [tags, size] of [["tbB", 1], ["su", 2], ["Iif", 4], ["D", 5], ["lLTd", 8], [
    "V",
    0,
  ]] as const
) for (const tag of tags) fieldSizes[tag.charCodeAt(0)] = size;

const code = (tag: string) => tag.charCodeAt(0);
const double = code("d"), float = code("f"), table = code("F"), array = code("A");
const strings = [code("S"), code("x")];

/**
 * Pass over a table, checking it as `Reader.table()` does.
 * @param seen Is called with the start and the length of each key of the table itself, which lie in the reader's buffer
 * @throws ProtocolError 502
 */
export function skipTable(reader: Reader, seen?: (start: number, length: number) => void): void {
  const end = reader.enter();
  while (reader.pos < end) {
    const length = reader.octet();
    const start = reader.take(length);
    seen?.(start, length);
    skipField(reader);
  }
  reader.leave(end);
}

function skipField(reader: Reader): void {
  const tag = reader.octet();
  const size = fieldSizes[tag];
  if (size !== undefined) {
    const at = reader.take(size);
    if (tag === double) finite(reader.buf.readDoubleBE(at));
    else if (tag === float) finite(reader.buf.readFloatBE(at));
  } else if (strings.includes(tag)) reader.take(reader.long());
  else if (tag === table) skipTable(reader);
  else if (tag === array) {
    const end = reader.enter();
    while (reader.pos < end) skipField(reader);
    reader.leave(end);
  } else throw unknownType(String.fromCharCode(tag));
}
