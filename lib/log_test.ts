import assert from "node:assert/strict";

async function logged(format: string, texts: string[]): Promise<string[]> {
  const { href } = new URL("log.ts", import.meta.url);
  const script = `import { createLog } from ${JSON.stringify(href)};
const log = createLog({ name: "tool", format: ${JSON.stringify(format)} });
for (const text of ${JSON.stringify(texts)}) log.warn(text);
log.debug("not said");
await log.written();`;
  const { stderr } = await new Deno.Command(Deno.execPath(), { args: ["eval", script] }).output();
  return new TextDecoder().decode(stderr).trimEnd().split("\n");
}

Deno.test("what is said is written as it is, whatever its braces, in both formats", async () => {
  const texts = ["a}b", "}}", "{c}", "{", "{{x}}", '{"a":{"b":1}}', "a{b}c}d{"];
  const lines = await logged("text", texts);
  assert.deepEqual(lines.map((line) => line.split(" [WRN] tool: ")[1]), texts);
  const objects = (await logged("json", texts)).map((line) => JSON.parse(line));
  assert.deepEqual(objects.map(({ message }) => message), texts);
});

Deno.test("passwords in URLs are not shown", async () => {
  const [line] = await logged("text", ["Lost amqp://user:geheim@host/"]);
  assert.match(line!, /Lost amqp:\/\/.*host/);
  assert.doesNotMatch(line!, /geheim/);
});

Deno.test("a process may have several logs", async () => {
  const { href } = new URL("log.ts", import.meta.url);
  const script = `import { createLog } from ${JSON.stringify(href)};
for (const name of ["one", "two", "one"]) {
  const log = createLog({ name });
  log.warn("hello");
  await log.written();
}`;
  const { stderr } = await new Deno.Command(Deno.execPath(), { args: ["eval", script] }).output();
  const lines = new TextDecoder().decode(stderr).trimEnd().split("\n");
  const said = lines.map((line) => line.split(" [WRN] ")[1]);
  assert.deepEqual(said, ["one: hello", "two: hello", "one: hello"]);
});

Deno.test("a line about a message has its id and its trace: as fields of JSON, the trace at the end of a text", async () => {
  const { href } = new URL("log.ts", import.meta.url);
  const about = { messageId: "id-1", traceId: "0af7651916cd43dd8448eb211c80319c" };
  const script = (format: string) =>
    `import { createLog } from ${JSON.stringify(href)};
const log = createLog({ name: "tool", format: "${format}" });
log.warn("Message id-1 failed", ${JSON.stringify(about)});
await log.written();`;
  const said = async (format: string) => {
    const eval_ = new Deno.Command(Deno.execPath(), { args: ["eval", script(format)] });
    return new TextDecoder().decode((await eval_.output()).stderr).trimEnd();
  };
  assert.match(
    await said("text"),
    / tool: Message id-1 failed \(trace 0af7651916cd43dd8448eb211c80319c\)$/,
  );
  const { message, properties } = JSON.parse(await said("json"));
  assert.equal(message, "Message id-1 failed");
  assert.deepEqual(properties, about);
});
