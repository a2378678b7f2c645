/**
 * The answer of `find`, `aggregate`, `getMore` and the listing commands: a batch of a cursor.
 * @module
 */
import { encode } from "../values/bson_view.ts";

/**
 * An answer with a batch of a cursor, from documents as they are stored.
 * @param batch `firstBatch` or `nextBatch`
 * @param id the cursor's id; 0 when there is no more
 */
export function cursorReply(
  batch: "firstBatch" | "nextBatch",
  documents: readonly Uint8Array[],
  id: bigint,
  ns: string,
): Uint8Array {
  const tail = encode({ id, ns });
  let listSize = 5;
  for (let i = 0; i < documents.length; i++) {
    listSize += 2 + digits(i) + documents[i]!.length;
  }
  const cursorSize = 4 + 1 + batch.length + 1 + listSize + (tail.length - 4);
  const total = 4 + 1 + 7 + cursorSize + 12 + 1;
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  let at = 0;
  const text = (value: string) => {
    for (let i = 0; i < value.length; i++) bytes[at++] = value.charCodeAt(i);
    at++;
  };
  view.setInt32(0, total, true);
  at = 4;
  bytes[at++] = 0x03;
  text("cursor");
  view.setInt32(at, cursorSize, true);
  at += 4;
  bytes[at++] = 0x04;
  text(batch);
  view.setInt32(at, listSize, true);
  at += 4;
  for (let i = 0; i < documents.length; i++) {
    bytes[at++] = 0x03;
    text(String(i));
    bytes.set(documents[i]!, at);
    at += documents[i]!.length;
  }
  at++;
  bytes.set(tail.subarray(4), at);
  at += tail.length - 4;
  bytes[at++] = 0x01;
  text("ok");
  view.setFloat64(at, 1, true);
  return bytes;
}

function digits(value: number): number {
  return value < 10 ? 1 : value < 100 ? 2 : value < 1000 ? 3 : String(value).length;
}
