#!/usr/bin/env -S deno run --no-prompt --allow-net
/**
 * Post the example payloads of all GitHub webhooks to datagen, one object each.
 *
 * Run: `deno run --allow-net examples/post_webhooks.ts [URL OF DATAGEN]`
 * @module
 */
import examples from "@octokit/webhooks-examples" with { type: "json" };

const [url = "http://127.0.0.1:8000"] = Deno.args;
const payloads = examples.flatMap(({ examples }) => examples as unknown[]);
for (const payload of payloads) {
  const response = await fetch(`${url}/api/objects`, {
    method: "POST",
    body: JSON.stringify(payload),
  });
  if (!response.ok) {
    console.error(`Cannot post to ${url}: ${response.status}: ${await response.text()}`);
    Deno.exit(1);
  }
  await response.body?.cancel();
}
console.log(` [x] Posted ${payloads.length} webhook payloads to ${url}`);
