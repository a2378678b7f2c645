/**
 * Values as RabbitMQ's error texts show them: in Erlang's syntax.
 * @module
 */
import type { Buffer } from "node:buffer";
import { type Field, readLatin1, typeNames } from "./fields.ts";

/** A field's value as Erlang's `~p` prints it, as far as error texts need it. */
export function erlang(field: Field): string {
  switch (field.t) {
    case "S":
    case "x":
      return field.v === "" ? "<<>>" : `<<"${field.v}">>`;
    case "F":
      return "[]";
    case "V":
      return "undefined";
    case "d":
    case "f":
      return Number.isInteger(field.v) ? `${field.v}.0` : String(field.v);
    case "A":
      return `[${field.v.map((item) => `{${typeNames[item.t]},${erlang(item)}}`).join(",")}]`;
    case "D":
      return `{${field.v.join(",")}}`;
    default:
      return String(field.v);
  }
}

/** The first 16 bytes of a frame's payload, such as `all octets = <<"abc">>`. */
export function erlangBytes(payload: Buffer): string {
  const part = payload.subarray(0, 16);
  const text = readLatin1(part);
  const shown = part.length === 0
    ? "<<>>"
    : /^[\x20-\x7e]*$/.test(text)
    ? `<<"${text}">>`
    : `<<${[...part].join(",")}>>`;
  return `${payload.length <= 16 ? "all" : "first 16"} octets = ${shown}`;
}
