import assert from "node:assert/strict";
import { start } from "./testing.ts";

Deno.test("a log shows each text as it is, whatever braces it has", async () => {
  const texts = ["plain", "}", "a}}b", "{", '{"a":{}}', "{*} {text}", "}{"];
  const script = `import { startLogging } from "./lib/log.ts";
const log = startLogging("x", "info", Deno.args[0]);
JSON.parse(Deno.args[1]).forEach(log.info);
await log.written();`;
  for (
    const [format, textOf] of [
      ["text", (line: string) => line.replace(/^.*?x: /, "")],
      ["json", (line: string) => JSON.parse(line).message],
    ] as const
  ) {
    await using tool = start(["eval", script, format, JSON.stringify(texts)]);
    const { stderr } = await tool.ended();
    assert.deepEqual(stderr.trimEnd().split("\n").map(textOf), texts);
  }
});
