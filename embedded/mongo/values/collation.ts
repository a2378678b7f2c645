/**
 * Collations: strings compared as a language orders them, by the runtime's own ICU.
 *
 * Index keys hold strings in byte order, so under a collation other than `simple` no index is used for strings, nor
 * to sort; the comparison is then made on every document.
 * https://www.mongodb.com/docs/manual/reference/collation/
 * @module
 */
import { CommandError } from "../errors.ts";
import type { Doc } from "./bson_view.ts";

/** Compares two strings: negative, zero or positive. */
export type StringOrder = (a: string, b: string) => number;

let active: StringOrder | undefined;

/** The order that strings have at this moment; undefined: by their bytes. */
export function activeOrder(): StringOrder | undefined {
  return active;
}

/** Do something, strings compared by `order`. It must not wait: the order holds for this call only. */
export function withStringOrder<T>(order: StringOrder | undefined, work: () => T): T {
  const before = active;
  active = order;
  try {
    return work();
  } finally {
    active = before;
  }
}

/** What an iterator yields, each step done withStringOrder `order`. */
export function* stepsWithStringOrder<T>(
  order: StringOrder | undefined,
  source: Iterator<T, void>,
): Generator<T, void> {
  try {
    for (;;) {
      const next = withStringOrder(order, () => source.next());
      if (next.done) return;
      yield next.value;
    }
  } finally {
    source.return?.();
  }
}

/** The fields of a collation in the server's order, with its defaults. */
const DEFAULTS: Doc = {
  locale: undefined,
  caseLevel: false,
  caseFirst: "off",
  strength: 3,
  numericOrdering: false,
  alternate: "non-ignorable",
  maxVariable: "punct",
  normalization: false,
  backwards: false,
};
const CHOICES: Record<string, readonly unknown[]> = {
  caseFirst: ["off", "upper", "lower"],
  strength: [1, 2, 3, 4, 5],
  alternate: ["non-ignorable", "shifted"],
  maxVariable: ["punct", "space"],
};

function bad(message: string): CommandError {
  return new CommandError("BadValue", message);
}

/**
 * A collation with every field that was left out, as `listCollections` and `listIndexes` show it.
 * @returns undefined for none and for `simple`
 * @throws CommandError BadValue, IDLUnknownField, IDLFailedToParse for one that the server does not take; NotImplemented
 *   for what the runtime's ICU is not open to: `backwards`, strength 4 and 5, `maxVariable: "space"`
 */
export function fullCollation(value: Doc | undefined): Doc | undefined {
  if (value === undefined || !Object.keys(value).length) return undefined;
  for (const name of Object.keys(value)) {
    if (!(name in DEFAULTS) && name !== "version") {
      throw new CommandError(
        "IDLUnknownField",
        `BSON field 'collation.${name}' is an unknown field.`,
      );
    }
    if (CHOICES[name] && !CHOICES[name].includes(value[name])) {
      throw bad(
        `Enumeration value '${value[name]}' for field 'collation.${name}' is not a valid value.`,
      );
    }
  }
  if (value.locale === undefined) {
    throw new CommandError(
      "IDLFailedToParse",
      "BSON field 'collation.locale' is missing but a required field",
    );
  }
  if (value.locale === "simple") return undefined;
  const full = { ...DEFAULTS, ...value, version: "57.1" };
  stringOrder(full);
  return full;
}

const orders = new Map<string, StringOrder>();

/**
 * The order of a collation's strings.
 * @param collation with all its fields; undefined: the order of bytes
 * @throws CommandError BadValue for a locale that is none
 */
export function stringOrder(collation: Doc | undefined): StringOrder | undefined {
  if (!collation) return undefined;
  const key = JSON.stringify(collation);
  let order = orders.get(key);
  if (!order) {
    if (orders.size > 100) orders.clear();
    orders.set(key, order = makeOrder(collation));
  }
  return order;
}

function makeOrder(collation: Doc): StringOrder {
  const refused = (what: string) =>
    new CommandError("NotImplemented", `A collation with ${what} is not supported`);
  if (collation.backwards) throw refused("backwards: true");
  if (collation.maxVariable === "space") throw refused("maxVariable: 'space'");
  const strength = collation.strength as number;
  if (strength > 3) throw refused(`strength: ${strength}`);
  const locale = String(collation.locale).replace("@collation=", "-u-co-").replaceAll("_", "-");
  let known: string[] = [];
  try {
    known = Intl.Collator.supportedLocalesOf([locale]);
  } catch { /* not even the form of a locale's name */ }
  if (!known.length) throw bad(`Field 'locale' is invalid in: { locale: "${collation.locale}" }`);
  const caseLevel = !!collation.caseLevel;
  const { compare } = new Intl.Collator(locale, {
    sensitivity: strength === 3 || (strength === 2 && caseLevel)
      ? "variant"
      : strength === 2
      ? "accent"
      : caseLevel
      ? "case"
      : "base",
    numeric: !!collation.numericOrdering,
    caseFirst: collation.caseFirst === "off" ? "false" : String(collation.caseFirst),
    ignorePunctuation: collation.alternate === "shifted",
  } as Intl.CollatorOptions);
  return compare;
}
