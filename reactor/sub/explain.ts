/**
 * `sub --explain`: which handlers an event would go to.
 * @module
 */
import type { Match } from "./filters.ts";
import { handlerFile } from "../handlers/handler_file.ts";
import { splitWords } from "../handlers/shell.ts";

/** Returns a line for each entry: where it stands in the file, and what would run, or why nothing can. Executes nothing. */
export async function explain(matches: Match[], directory: string): Promise<string[]> {
  return await Promise.all(matches.map(async ({ pattern, index, entry }) => {
    const variables = entry.env && `with the variables ${entry.env.join(", ")}`;
    const words = [entry.exclusive && "exclusive", await what(entry, directory), variables];
    return `${pattern} [${index}]: ${words.filter(Boolean).join(", ")}`;
  }));
}

async function what(
  { driver, handler, permissions }: Match["entry"],
  directory: string,
): Promise<string> {
  try {
    if (driver === "shell") {
      return `shell would run ${JSON.stringify([...splitWords(handler), "<event>"])}`;
    }
    if (driver !== "func" && driver !== "pyfunc") return `would fail: unknown driver '${driver}'`;
    const endings = driver === "func" ? [".ts", ".js", ".mjs"] : [".py"];
    const { file, name } = await handlerFile(directory, handler, endings);
    const given = permissions ? ` with ${JSON.stringify(permissions)}` : "";
    return `${driver} would call ${name}() of ${file}${driver === "func" ? given : ""}`;
  } catch (error) {
    return `would fail: ${(error as Error).message}`;
  }
}
