/**
 * What a product must be, in the words of Django REST framework (rest_framework/fields.py, CharField and DecimalField).
 * @module
 */
import { numberText } from "@event-sink/lib";
import { HTTPException } from "hono/http-exception";

/** What a client says of a product. */
export interface ProductFields {
  /** 1 to 255 characters. */
  title: string;
  /** Two decimals, such as `10.00`. */
  price: string;
  /** Absent: as it was, or null. */
  description?: string | null;
  /** Absent: as it was, or null. */
  image?: string | null;
}

/** Messages by field. */
export type FieldErrors = Record<string, string[]>;

/** Input that is refused; what is wrong stands by field, and is answered so. */
export class ValidationError extends HTTPException {
  constructor(errors: FieldErrors) {
    const message = Object.entries(errors).map(([field, texts]) => `${field}: ${texts.join(" ")}`)
      .join(" ");
    super(400, { message, res: Response.json(errors, { status: 400 }) });
  }
}

/** Whether a parsed value is an object with fields. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    numberText(value) === undefined;
}

/** A whole number from 1 that JavaScript holds exactly, written as a number or a string; else undefined. */
export function wholeNumber(value: unknown): number | undefined {
  const text = numberText(value) ?? value;
  if (typeof text !== "string" || !/^\d{1,16}$/.test(text)) return undefined;
  const number = Number(text);
  return number >= 1 && Number.isSafeInteger(number) ? number : undefined;
}

const checks: Record<keyof ProductFields, (value: unknown) => string | null | undefined> = {
  title: (value) => textIn(value, { required: true, most: 255 }),
  description: (value) => textIn(value, {}),
  price: priceIn,
  image: (value) => textIn(value, {}),
};

/**
 * Checks the fields of a product; others are ignored, as DRF ignores what is read-only.
 *
 * @throws {ValidationError} with every field that is wrong
 */
export function validateProduct(body: unknown): ProductFields {
  if (body === null) throw new ValidationError({ non_field_errors: ["No data provided"] });
  if (!isObject(body)) {
    const message = `Invalid data. Expected a dictionary, but got ${pythonType(body)}.`;
    throw new ValidationError({ non_field_errors: [message] });
  }
  const fields: Record<string, unknown> = {};
  const errors: FieldErrors = {};
  for (const [name, check] of Object.entries(checks)) {
    try {
      const value = check(Object.hasOwn(body, name) ? body[name] : undefined);
      if (value !== undefined) fields[name] = value;
    } catch (error) {
      errors[name] = [(error as Error).message];
    }
  }
  if (Object.keys(errors).length > 0) throw new ValidationError(errors);
  return fields as unknown as ProductFields;
}

function pythonType(value: unknown): string {
  if (Array.isArray(value)) return "list";
  const number = numberText(value);
  if (number !== undefined) return /[.e]/i.test(number) ? "float" : "int";
  return typeof value === "string" ? "str" : "bool";
}

function textIn(
  value: unknown,
  { required = false, most = Infinity }: { required?: boolean; most?: number },
): string | null | undefined {
  if (value === undefined) {
    if (required) throw new Error("This field is required.");
    return undefined;
  }
  if (value === null) {
    if (required) throw new Error("This field may not be null.");
    return null;
  }
  const given = numberText(value) ?? value;
  if (typeof given !== "string") throw new Error("Not a valid string.");
  const text = given.trim();
  if (text.includes("\0")) throw new Error("Null characters are not allowed.");
  if (required && /^[\s\p{Cc}]*$/u.test(text)) throw new Error("This field may not be blank.");
  const [surrogate] = /\p{Surrogate}/u.exec(text) ?? [];
  if (surrogate) {
    const code = surrogate.codePointAt(0)!.toString(16).toUpperCase();
    throw new Error(`Surrogate characters are not allowed: U+${code}.`);
  }
  if ([...text].length > most) {
    throw new Error(`Ensure this field has no more than ${most} characters.`);
  }
  return text;
}

const digits = 10;
const decimals = 2;

/** Exact: works on the digits as they were written. */
function priceIn(value: unknown): string {
  if (value === undefined) throw new Error("This field is required.");
  if (value === null) throw new Error("This field may not be null.");
  const text = numberText(value) ?? value;
  if (typeof text === "string" && text.length > 1000) throw new Error("String value too large.");
  const match = typeof text === "string" &&
    /^([+-]?)(\d*)(?:\.(\d*))?(?:e([+-]?\d{1,9}))?$/i.exec(text.trim());
  if (!match || (match[2] === "" && !match[3])) throw new Error("A valid number is required.");
  const [, sign, before = "", after = "", power = "0"] = match;
  const written = (before + after).replace(/^0+(?=\d)/, "");
  // As Python's Decimal has it: a whole number times a power of ten.
  const exponent = Number(power) - after.length;
  const places = Math.max(0, -exponent);
  const total = Math.max(places, written.length + Math.max(0, exponent));
  const message = total > digits
    ? `Ensure that there are no more than ${digits} digits in total.`
    : places > decimals
    ? `Ensure that there are no more than ${decimals} decimal places.`
    : total - places > digits - decimals
    ? `Ensure that there are no more than ${digits - decimals} digits before the decimal point.`
    : sign === "-" && /[1-9]/.test(written)
    ? "Ensure this value is greater than or equal to 0."
    : undefined;
  if (message) throw new Error(message);
  const cents = (written + "0".repeat(exponent + decimals)).padStart(decimals + 1, "0");
  return `${cents.slice(0, -decimals)}.${cents.slice(-decimals)}`;
}
