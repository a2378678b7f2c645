/**
 * Which values are one and the same to `$group`, `$addToSet`, `$lookup` and `distinct`.
 * @module
 */
import { activeOrder, type StringOrder } from "./collation.ts";
import { isDoc, RANK, rankOf } from "./compare.ts";
import { encodeKey } from "./key_encoding.ts";

/** Gives equal values, numbers of any type and strings of one collation, the same text. */
export class Identities {
  /** One string for all that are equal to it, in order. */
  #representatives: string[] = [];

  /** @param order of strings; undefined: by their bytes */
  constructor(private readonly order: StringOrder | undefined = activeOrder()) {}

  /** A text that all values equal to this one have, and no others. */
  of(value: unknown): string {
    const key = encodeKey(this.order ? this.#represented(value) : value);
    let text = "";
    for (let i = 0; i < key.length; i++) text += String.fromCharCode(key[i]!);
    return text;
  }

  #represented(value: unknown): unknown {
    if (rankOf(value) === RANK.string) return this.#representative(String(value));
    if (Array.isArray(value)) return value.map((item) => this.#represented(item));
    if (!isDoc(value)) return value;
    const names = Object.keys(value);
    return Object.fromEntries(names.map((name) => [name, this.#represented(value[name])]));
  }

  #representative(text: string): string {
    const all = this.#representatives;
    let low = 0;
    let high = all.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const order = this.order!(all[middle]!, text);
      if (order === 0) return all[middle]!;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    all.splice(low, 0, text);
    return text;
  }
}
