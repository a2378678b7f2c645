/**
 * A message as lines for people.
 * @module
 */
import { parseExactly, printable, type SavedMessage, shown } from "@event-sink/lib";

/** Longest body that is shown whole, in bytes. */
const MOST_BODY = 64 * 1024;
/** Longest other part, and longest line of a body, in characters: a terminal shows 10,000 of a line, and some of them are for colours. */
const MOST_LINE = 4000;

const colours = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, blue: 34, cyan: 36 };
type Paint = (colour: keyof typeof colours, text: string) => string;
const plain: Paint = (_, text) => text;
const coloured: Paint = (colour, text) => `\x1b[${colours[colour]}m${text}\x1b[0m`;

/** One line of exchange, key, time and properties, then the headers, then the body: JSON indented, other text escaped. */
export function linesOf(message: SavedMessage, colour: boolean): string[] {
  const paint = colour ? coloured : plain;
  const { time, exchange, routingKey, body, properties } = message;
  const { headers = {}, deliveryMode: _, ...rest } = properties;
  const said = Object.entries(rest).filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${printable(propertyText(name, value), 200)}`);
  const head = [
    paint("bold", printable(exchange || "(default)", MOST_LINE)),
    paint("cyan", printable(routingKey || "(no key)", MOST_LINE)),
    ...time ? [time.toISOString()] : [],
    paint("dim", [...said, `${body.length} bytes`].join(" ")),
  ];
  return [
    head.join("  "),
    ...Object.entries(headers).map(([name, value]) =>
      `  ${paint("blue", printable(name, 200))}: ${printable(valueText(value), MOST_LINE)}`
    ),
    ...bodyLines(body, paint).map((line) => `  ${line}`),
  ];
}

/** A timestamp is in seconds (AMQP 0-9-1, 4.2.5.4); what programs write there may be no date. */
function propertyText(name: string, value: unknown): string {
  const date = name === "timestamp" ? new Date(Number(value) * 1000) : undefined;
  return date && !Number.isNaN(date.getTime()) ? date.toISOString() : String(value);
}

function valueText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value) ?? String(value);
}

function bodyLines(body: Uint8Array, paint: Paint): string[] {
  if (body.length > MOST_BODY) return [shown(body, MOST_LINE)];
  try {
    return JSON.stringify(parseExactly(body), null, 2).split("\n")
      .map((line) => inColour(printable(line, MOST_LINE), paint));
  } catch {
    return body.length === 0 ? [] : [shown(body, MOST_LINE)];
  }
}

/** A line of indented JSON: an optional name, then a value. */
function inColour(line: string, paint: Paint): string {
  const [, indent = "", name = "", value = "", end = ""] =
    /^( *)("(?:[^"\\]|\\.)*": )?(.*?)(,?)$/s.exec(line) ?? [];
  return indent + (name && paint("blue", name.slice(0, -2)) + ": ") + inItsColour(value) + end;

  function inItsColour(value: string): string {
    if (value === "" || /^[[{\]}]/.test(value)) return value;
    if (value.startsWith('"')) return paint("green", value);
    return paint(/^[-\d]/.test(value) ? "yellow" : "red", value);
  }
}
