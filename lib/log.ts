/**
 * Diagnostics on stderr: readable at a terminal, JSON lines with `--log-format json`, never a password.
 * @module
 */
import {
  configureSync,
  getJsonLinesFormatter,
  getLogger,
  getLogLevels,
  getTextFormatter,
  isLogLevel,
  type Logger,
  type LogLevel,
  type LogRecord,
} from "@logtape/logtape";
import { redactByPattern } from "@logtape/redaction";
import { type Flag, textFlag } from "./flags.ts";
import { withoutPassword } from "./url.ts";

/** The flags about logging that every tool has. */
export const logFlags = {
  logLevel: {
    ...textFlag("least severe level to log: trace, debug, info, warning, error, fatal", {
      value: "LEVEL",
      default: "info",
    }),
    env: ["LOG_LEVEL"],
    parse(text: string) {
      const level = text.toLowerCase() === "warn" ? "warning" : text.toLowerCase();
      if (isLogLevel(level)) return level;
      throw new TypeError(`expected ${getLogLevels().join(", ")}, not '${text}'`);
    },
  } as Flag<LogLevel>,
  logFormat: {
    ...textFlag("text or json", { value: "FORMAT", default: "text" }),
    parse(text: string) {
      if (text === "text" || text === "json") return text;
      throw new TypeError(`expected text or json, not '${text}'`);
    },
  } as Flag<"text" | "json">,
};

/** Sets logging up for the whole process and returns the tool's logger. */
export function startLogging(name: string, level: LogLevel, format: "text" | "json"): Logger {
  const formatter = redactByPattern(
    format === "json"
      ? getJsonLinesFormatter({ message: "rendered" })
      : getTextFormatter({ timestamp: "time", category: () => name, value: String }),
    // One match is the whole line, so that the rule for URLs stands in one place.
    [{ pattern: /.+/g, replacement: withoutPassword }],
  );
  configureSync({
    reset: true,
    sinks: { stderr: (record: LogRecord) => writeError(formatter(record)) },
    loggers: [
      { category: [], lowestLevel: level, sinks: ["stderr"] },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["stderr"] },
    ],
  });
  return getLogger(name);
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
