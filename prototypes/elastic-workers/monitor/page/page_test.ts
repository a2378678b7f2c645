/**
 * The live page in a real browser: Debian's chromium. Where it is not installed the test says so and ends; in CI it fails.
 */
import assert from "node:assert/strict";
import { installed, startBrowser } from "../../../../lib/browser_testing.ts";
import { eventually } from "../../../../lib/testing.ts";
import { setup } from "../../testing/setup.ts";

Deno.test("the page shows an app live: its numbers and decisions, on a phone too", async () => {
  if (!await installed()) return;
  await using test = await setup("page");
  const { appId, queues } = test;
  await test.probe.channel.assertQueue(queues.upload, { durable: true });
  for (let number = 0; number < 30; number++) test.send(queues.upload, { uri: "http://a" });
  const monitor = test.start("monitor", "--app-id", appId, "--port", "0", "--max", "7");
  const [, url] = await monitor.seen(/The page is at (\S+)/);
  await monitor.seen(/: \d workers, not 1/);
  await using browser = await startBrowser();
  const page = await browser.open(url!);
  for (const width of [1280, 360]) {
    await page.send("Emulation.setDeviceMetricsOverride", {
      ...{ width, height: 900, deviceScaleFactor: 1, mobile: width < 1000 },
    });
    await eventually(async () => {
      const [shown, needed] = await page.evaluate<[string, number]>(
        "[document.body.innerText, document.documentElement.scrollWidth]",
      );
      const text = `${shown} `.replace(/\s+/g, " ");
      assert.match(text, new RegExp(` Live `));
      assert.match(text, / Wanted 7 Running 0 /);
      assert.match(text, / Waiting 30 In hand 0 /);
      assert.match(text, / Objective 30\.0 /);
      assert.match(text, /Decisions \d\d:\d\d:\d\d \d → \d 30 waiting take 0 workers for ever/);
      assert(needed <= width, `${needed} of ${width} px`);
    });
  }
  const connection = () =>
    page.evaluate<string>(`document.querySelector("#connection").textContent`);
  test.cable.cut("down");
  await eventually(async () =>
    assert.match(await connection(), /^No news: .*no connection to the/)
  );
  test.cable.plug();
  await eventually(async () => assert.equal(await connection(), "Live"));
  assert.deepEqual(browser.problems, []);
});
