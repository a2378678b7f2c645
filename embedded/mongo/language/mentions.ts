/**
 * What is used anywhere in a filter or pipeline.
 * @module
 */
import { isDoc } from "../values/compare.ts";

/** True when an operator or field of that name stands anywhere in a value. */
export function mentions(value: unknown, name: string): boolean {
  if (Array.isArray(value)) return value.some((item) => mentions(item, name));
  if (!isDoc(value)) return false;
  return Object.keys(value).some((key) => key === name || mentions(value[key], name));
}
