/**
 * The live page in a real browser: Debian's chromium. Where it is not installed the test says so and ends; in CI it fails.
 */
import assert from "node:assert/strict";
import { eventually, start } from "../../../../lib/testing.ts";
import { setup } from "../../testing/setup.ts";

async function hasChromium(): Promise<boolean> {
  try {
    await new Deno.Command("chromium", { args: ["--version"], stdout: "null" }).output();
    return true;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (Deno.env.get("CI")) assert.fail("there is no 'chromium' here");
  console.log("there is no 'chromium' here: not tested");
  return false;
}

Deno.test("the page shows an app live: its numbers and decisions, on a phone too", async () => {
  if (!await hasChromium()) return;
  await using test = await setup("page");
  const { appId, queues, directory } = test;
  await test.probe.channel.assertQueue(queues.upload, { durable: true });
  for (let number = 0; number < 30; number++) test.send(queues.upload, { uri: "http://a" });
  const monitor = test.start("monitor", "--app-id", appId, "--port", "0", "--max", "7");
  const [, url] = await monitor.seen(/The page is at (\S+)/);
  await monitor.seen(/: \d workers, not 1/);
  await using browser = start([
    ...["--headless", "--no-sandbox", "--disable-dev-shm-usage", "--remote-debugging-port=0"],
    `--user-data-dir=${directory}/profile`,
  ], { command: "chromium" });
  const [, debugging] = await browser.seen(/DevTools listening on ws:\/\/([^/]+)/);
  const opened = await fetch(`http://${debugging}/json/new?${url}`, { method: "PUT" });
  const page = connect((await opened.json()).webSocketDebuggerUrl);
  for (const width of [1280, 360]) {
    await page("Emulation.setDeviceMetricsOverride", {
      ...{ width, height: 900, deviceScaleFactor: 1, mobile: width < 1000 },
    });
    await eventually(async () => {
      const { result } = await page("Runtime.evaluate", {
        returnByValue: true,
        expression: "[document.body.innerText, document.documentElement.scrollWidth]",
      });
      const [shown, needed] = result.value;
      const text = `${shown} `.replace(/\s+/g, " ");
      assert.match(text, new RegExp(` Live `));
      assert.match(text, / Wanted 7 Running 0 /);
      assert.match(text, / Waiting 30 In hand 0 /);
      assert.match(text, / Objective 30\.0 /);
      assert.match(text, /Decisions \d\d:\d\d:\d\d \d → \d 30 waiting take 0 workers for ever/);
      assert(needed <= width, `${needed} of ${width} px`);
    });
  }
  const connection = async () => {
    const expression = `["", 0, document.querySelector("#connection").textContent]`;
    const { result } = await page("Runtime.evaluate", { returnByValue: true, expression });
    return `${result.value.at(-1)}`;
  };
  test.cable.cut("down");
  await eventually(async () =>
    assert.match(await connection(), /^No news: .*no connection to the/)
  );
  test.cable.plug();
  await eventually(async () => assert.equal(await connection(), "Live"));
  browser.kill("SIGTERM");
  await browser.ended();
  // Its helper processes may write for a moment longer than it lives.
  await eventually(() => Deno.remove(`${directory}/profile`, { recursive: true }));
});

/** Calls the DevTools protocol of a page (https://chromedevtools.github.io/devtools-protocol/). */
function connect(url: string) {
  const socket = new WebSocket(url);
  const open = new Promise((resolve) => socket.onopen = resolve);
  const answers: PromiseWithResolvers<{ result: { value: [string, number] } }>[] = [];
  socket.onmessage = ({ data }) => {
    const { id, result } = JSON.parse(data);
    answers[id]?.resolve(result);
  };
  return async (method: string, params: unknown) => {
    await open;
    const answer = Promise.withResolvers<{ result: { value: [string, number] } }>();
    socket.send(JSON.stringify({ id: answers.push(answer) - 1, method, params }));
    return await answer.promise;
  };
}
