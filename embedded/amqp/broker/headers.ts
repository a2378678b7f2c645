/**
 * Matching of headers bindings (spec 3.1.3.4), with RabbitMQ's `all-with-x` and `any-with-x`.
 * @module
 */
import { erlang } from "../protocol/erlang.ts";
import { type Field, type Table, typeNames } from "../protocol/fields.ts";
import { ProtocolError } from "../protocol/errors.ts";

const kinds = ["all", "any", "all-with-x", "any-with-x"];

/** Refuse a binding whose `x-match` RabbitMQ would refuse. */
export function checkHeadersBinding(args: Table): void {
  const match = args.get("x-match");
  if (match === undefined) return;
  if (match.t !== "S") {
    throw new ProtocolError(
      "PRECONDITION_FAILED",
      `Invalid x-match field type ${typeNames[match.t]} (value ${erlang(match)}); expected longstr`,
    );
  }
  if (!kinds.includes(match.v)) {
    throw new ProtocolError(
      "PRECONDITION_FAILED",
      `Invalid x-match field value ${erlang(match)}; expected all, any, all-with-x, or any-with-x`,
    );
  }
}

/** Whether headers satisfy a binding's arguments. */
export function headersMatch(args: Table, headers: Table): boolean {
  const match = args.get("x-match");
  const kind = match?.t === "S" ? match.v : "all";
  const any = kind.startsWith("any");
  const withX = kind.endsWith("-with-x");
  for (const [key, wanted] of args) {
    if (key === "x-match" || (!withX && key.startsWith("x-"))) continue;
    const given = headers.get(key);
    const matches = given !== undefined && (wanted.t === "V" || same(wanted, given));
    if (matches && any) return true;
    if (!matches && !any) return false;
  }
  return !any;
}

/** Equal values; the type does not matter, as 1 is 1 in a byte or a long. */
function same(a: Field, b: Field): boolean {
  if (typeof a.v !== "object" || typeof b.v !== "object") return a.v === b.v;
  return erlangTerm(a) === erlangTerm(b);
}

function erlangTerm(field: Field): string {
  if (field.t === "F") {
    return `F{${[...field.v].sort().map(([k, v]) => `${k}=${v.t}${erlangTerm(v)}`).join()}}`;
  }
  if (field.t === "A") return `A[${field.v.map((v) => v.t + erlangTerm(v)).join()}]`;
  return String(field.v);
}
