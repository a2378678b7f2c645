/**
 * Diagnostics on stderr: readable at a terminal, JSON lines with `--log-format json`, never a password.
 * @module
 */
import type { TextFormatter } from "@logtape/logtape";
import { choiceFlag, type Flag } from "./flags.ts";
import { printable } from "./text.ts";
import { traceIds } from "./trace.ts";
import { withoutPassword } from "./url.ts";

/** Says what happens, on stderr. The methods return at once. A line that is said within a span has its trace. */
export interface Log {
  /** Says what only matters when something is looked into. */
  debug(text: string): void;
  /** Says what is worth knowing: a connection is back. */
  info(text: string): void;
  /** Says what somebody may have to look at: an outage, a message that failed. */
  warn(text: string, about?: About): void;
  /** Says from now on what is as severe as this. */
  setLevel(least: Level): void;
  /** Resolves when all that was said is written. */
  written(): Promise<unknown>;
}

/** What a line is about; of JSON lines, the fields. */
export interface About {
  /** The message. */
  messageId?: string;
  /** The trace, where the line is not said within its span. */
  traceId?: string;
}

/** Severity of a diagnostic, least first. */
export type Level = "debug" | "info" | "warning" | "error";
const levels: readonly Level[] = ["debug", "info", "warning", "error"];
/** Form of a diagnostic. */
export type LogFormat = "text" | "json";

/** The flags about logging that every tool has. */
export type LogFlags = {
  /** Least severe level to log. */
  logLevel: Flag<Level>;
  /** Form of the lines. */
  logFormat: Flag<LogFormat>;
};

/** `--log-level` and `--log-format`. */
export const logFlags: LogFlags = {
  logLevel: choiceFlag(`least severe level to log: ${levels.join(", ")}`, levels, {
    default: "info",
    value: "LEVEL",
    short: "l",
    env: ["LOG_LEVEL"],
    spelling: (text) => text.toLowerCase().replace(/^warn$/, "warning"),
  }),
  logFormat: choiceFlag("text or json", ["text", "json"], { default: "text", value: "FORMAT" }),
};

/** How to log. */
export interface LogOptions {
  /** Who speaks. */
  name?: string;
  /** Least severe level to log (info). */
  level?: Level;
  /** Form of the lines (text). */
  format?: LogFormat;
}

/** Longest line, in characters: what comes from outside may be of any length. */
const LONGEST = 2000;

/**
 * Returns a log that writes to stderr. The logging library is loaded with the first line that is to be written: most runs have none.
 * What is logged is cut and escaped, and passwords of URLs are hidden.
 */
export function createLog(
  { name = "event-sink", level: least = "info", format = "text" }: LogOptions = {},
): Log {
  let formatter: Promise<TextFormatter> | undefined;
  let last: Promise<unknown> = Promise.resolve();
  const at = (level: "debug" | "info" | "warning") => (text: string, about?: About) => {
    if (levels.indexOf(least) > levels.indexOf(level)) return;
    formatter ??= createFormatter(name, format);
    const loading = formatter;
    const properties = { ...about, ...traceIds() };
    const { traceId } = properties;
    const end = format === "text" && traceId ? ` (trace ${traceId})` : "";
    const rawMessage = printable(withoutPassword(text), LONGEST) + end;
    const said = { category: [name], level, message: [rawMessage], rawMessage, properties };
    const timestamp = Date.now();
    last = last.then(async () => writeError((await loading)({ ...said, timestamp })));
  };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warning"),
    setLevel: (level) => least = level,
    written: () => last,
  };
}

/** LogTape's formatters only: its configuration is one for the whole process, which may have several logs, and may use LogTape itself. */
async function createFormatter(name: string, format: LogFormat): Promise<TextFormatter> {
  const { getAnsiColorFormatter, getJsonLinesFormatter, getTextFormatter } = await import(
    "@logtape/logtape"
  );
  const text = { timestamp: "time", category: () => name, value: String } as const;
  if (format === "json") return getJsonLinesFormatter({ message: "rendered" });
  return Deno.stderr.isTerminal() && !Deno.noColor
    ? getAnsiColorFormatter(text)
    : getTextFormatter(text);
}

/** Writes to stderr at once; a closed stderr must not end a tool that does its work. */
export function writeError(text: string): void {
  let bytes = new TextEncoder().encode(text);
  try {
    while (bytes.length > 0) bytes = bytes.subarray(Deno.stderr.writeSync(bytes));
  } catch {
    // Nobody reads any more.
  }
}
