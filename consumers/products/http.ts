/**
 * What both HTTP interfaces share. Errors are JSON in the form of Django REST framework: `{ "detail": "..." }`, or messages by field.
 * @module
 */
import { printable } from "@event-sink/lib";
import { readJson } from "@event-sink/lib/http";
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import { LIST_LIMIT, type Page } from "./product.ts";
import { ValidationError, wholeNumber } from "./validation.ts";

/** The body of a request, as an event can carry it; one that is empty has no fields, as in DRF. */
export async function bodyOf(context: Context): Promise<unknown> {
  const body = await readJson(context, { limit: 65_536 });
  return body === undefined ? {} : body;
}

/** A 404 that names the id. */
export function noProduct(id: string): HTTPException {
  return new HTTPException(404, {
    message: `Not found: there is no product '${printable(id, 100)}'.`,
  });
}

/** What a path's id leads to. @throws {HTTPException} 404 when it is no number, or there is nothing */
export async function found<T>(
  id: string,
  get: (id: number) => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const number = wholeNumber(id);
  const thing = number && await get(number);
  if (!thing) throw noProduct(id);
  return thing;
}

/** Answers a list: `?limit` (1000) products, those behind the id `?after`; the header `Link` names the next page. */
export function answerList(
  context: Context,
  list: (range: { limit: number; after: number }) => Page,
): Response {
  const limit = queryNumber(context, "limit", { initial: LIST_LIMIT, min: 1, max: LIST_LIMIT });
  const after = queryNumber(context, "after", {
    initial: 0,
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
  });
  const { products, next } = list({ limit, after });
  if (next !== undefined) {
    context.header("Link", `</api/products/?limit=${limit}&after=${next}>; rel="next"`);
  }
  return context.json(products);
}

function queryNumber(
  { req }: Context,
  name: string,
  { initial, min, max }: { initial: number; min: number; max: number },
): number {
  const text = req.query(name);
  if (text === undefined) return initial;
  if (!/^-?\d+$/.test(text)) {
    throw new ValidationError({ [name]: ["A valid integer is required."] });
  }
  const number = Number(text);
  if (number >= min && number <= max) return number;
  const bound = number < min ? `greater than or equal to ${min}` : `less than or equal to ${max}`;
  throw new ValidationError({ [name]: [`Ensure this value is ${bound}.`] });
}
