import assert from "node:assert/strict";
import { setup } from "./testing/setup.ts";

Deno.test("publisher sends the requests of a file, again from the beginning, by the classical command line", async () => {
  await using test = await setup("publisher");
  const file = `${test.directory}/input.json`;
  await Deno.writeTextFile(file, `[{"type":"pdf","uri":"http://a"},{"uri":"http://b"}]`);
  const queue = test.queues.upload;
  const publisher = test.start(
    "publisher",
    ...[`--upload_queuename=${queue}`, `--input_data=${file}`, "--interval", "0", "--count", "3"],
  );
  const { code, stdout, stderr } = await publisher.ended();
  assert.equal(code, 0, stderr);
  assert.match(stdout, / \[x\] Sent 'http:\/\/a' to .*_upload\n(.*\n){2} \[x\] Sent 3 requests\n$/);
  const bodies = [];
  for (let number = 0; number < 3; number++) {
    const { content, properties } = await test.probe.take(queue);
    assert.equal(properties.deliveryMode, 2);
    assert(Math.abs(properties.headers!.published_ms - Date.now()) < 60_000);
    bodies.push(JSON.parse(content.toString()));
  }
  const app_id = test.appId;
  assert.deepEqual(bodies, [
    { type: "pdf", uri: "http://a", app_id },
    { type: "", uri: "http://b", app_id },
    { type: "pdf", uri: "http://a", app_id },
  ]);
});

Deno.test("publisher ends with 2 and says why when it cannot use what it was given", async () => {
  await using test = await setup("misuse");
  const cases: [string, RegExp][] = [
    [`{"type":"pdf"}`, /expected a JSON array of \{ "type", "uri" \}/],
    [`[]`, /Invalid length/],
    [`[{"type":"pdf"}]`, /0\.uri: .*"uri" but received undefined/],
    [`[{"uri":""}]`, /0\.uri: Invalid length/],
    [`[`, /JSON/],
  ];
  for (const [content, message] of cases) {
    const file = `${test.directory}/input.json`;
    await Deno.writeTextFile(file, content);
    const { code, stderr } = await test.start("publisher", "--input-data", file).ended();
    assert.equal(code, 2);
    assert.match(stderr, message);
  }
  for (const args of [["--input-data", "/nowhere"], ["--app-id", "a/b"], ["--app-id", ""]]) {
    assert.equal((await test.start("publisher", ...args).ended()).code, 2);
  }
});
