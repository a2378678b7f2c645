/**
 * Both pages in a real browser, Debian's chromium, driven over the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/).
 * Where it is not installed the test says so and ends; in CI it fails.
 */
import assert from "node:assert/strict";
import { eventually, start } from "../../../lib/testing.ts";
import { setup } from "../testing.ts";

async function installed(): Promise<boolean> {
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

/** What the DevTools protocol says. */
// deno-lint-ignore no-explicit-any
type Told = any;

/** A browser; `open` opens a page in it. */
async function startBrowser() {
  await using stack = new AsyncDisposableStack();
  const profile = await Deno.makeTempDir({ prefix: "event-sink-chromium-" });
  // Its helper processes may write for a moment longer than it lives.
  stack.defer(() => eventually(() => Deno.remove(profile, { recursive: true })));
  const browser = stack.use(start([
    "--headless",
    "--no-sandbox", // CI is root, whom the sandbox refuses
    "--disable-dev-shm-usage", // small in containers
    "--remote-debugging-port=0",
    `--user-data-dir=${profile}`,
  ], { command: "chromium" }));
  const [, url] = await browser.seen(/DevTools listening on (\S+)/);
  const socket = new WebSocket(url!);
  const waiting = new Map<number, PromiseWithResolvers<Told>>();
  const problems: string[] = [];
  socket.onmessage = ({ data }) => {
    const { id, method, params, error, result } = JSON.parse(data);
    if (method === "Runtime.exceptionThrown") problems.push(JSON.stringify(params));
    // What the browser itself writes to the console: refused by the Content-Security-Policy, not found, ...
    if (method === "Log.entryAdded" && params.entry.level === "error") {
      problems.push(JSON.stringify(params.entry));
    }
    if (error) waiting.get(id)?.reject(new Error(error.message));
    else waiting.get(id)?.resolve(result);
  };
  await new Promise((resolve) => socket.onopen = resolve);
  let calls = 0;
  function send(method: string, params = {}, sessionId?: string): Promise<Told> {
    const answer = Promise.withResolvers<Told>();
    waiting.set(++calls, answer);
    socket.send(JSON.stringify({ id: calls, sessionId, method, params }));
    return answer.promise;
  }
  stack.defer(async () => {
    const closed = new Promise((resolve) => socket.onclose = resolve);
    await send("Browser.close");
    await closed;
    await browser.ended();
  });
  const owned = stack.move();
  return {
    problems,
    async open(url: string) {
      const { targetId } = await send("Target.createTarget", { url });
      const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
      for (const domain of ["Runtime", "Log"]) await send(`${domain}.enable`, {}, sessionId);
      return {
        send: (method: string, params = {}) => send(method, params, sessionId),
        async evaluate<T>(expression: string): Promise<T> {
          const given = { expression, awaitPromise: true, returnByValue: true };
          const { result, exceptionDetails } = await send("Runtime.evaluate", given, sessionId);
          assert(!exceptionDetails, JSON.stringify(exceptionDetails));
          return result.value as T;
        },
      };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test("what a person does on admin's page arrives on service's, live, and a like comes back", async () => {
  if (!await installed()) return;
  await using test = await setup();
  await test.start("admin");
  const service = await test.start("service");
  await using browser = await startBrowser();
  const pages = [
    await browser.open(test.url("admin")),
    await browser.open(test.url("service")),
  ] as const;
  const [admin, copy] = pages;
  const text = (selector: string) => `document.querySelector("${selector}")?.textContent`;
  const live = () =>
    eventually(async () => {
      for (const page of pages) assert.equal(await page.evaluate(text("#connection")), "Live");
    });
  const products = `[...document.querySelectorAll("#products li")].map((item) =>
    [".title", ".price", ".likes"].map((part) => item.querySelector(part).firstChild.data))`;
  const both = (expected: string[][]) =>
    eventually(async () => {
      for (const page of pages) assert.deepEqual(await page.evaluate(products), expected);
    });
  const fill = (fields: Record<string, string>) =>
    admin.evaluate(`(() => {
      const form = document.querySelector("#form");
      for (const [name, value] of Object.entries(${JSON.stringify(fields)})) {
        form.elements[name].value = value;
      }
      document.querySelector("#save").click();
    })()`);
  const press = (page: typeof admin, label: string) =>
    page.evaluate(
      `[...document.querySelectorAll("li button")].find((button) => button.textContent === "${label}").click()`,
    );

  await live();
  await copy.evaluate("globalThis.loadedOnce = true");
  const title = "<img src=x onerror=alert(1)>"; // it is text
  await fill({ title, price: "9.5" });
  await both([[title, "9.50", "0 likes"]]);
  assert.equal(await copy.evaluate(text("#event")), "product_created 1");

  await fill({ title: " ", price: "1.005" });
  await eventually(async () =>
    assert.deepEqual(
      await admin.evaluate(
        `[...document.querySelectorAll("label .error")].map((e) => e.textContent)`,
      ),
      [
        "This field may not be blank.",
        "Ensure that there are no more than 2 decimal places.",
        "",
        "",
      ],
    )
  );
  await press(admin, "Edit");
  await fill({ title: "changed" });
  await both([["changed", "9.50", "0 likes"]]);
  await press(copy, "Like");
  await both([["changed", "9.50", "1 likes"]]);
  await press(copy, "Like");
  await eventually(async () =>
    assert.equal(await copy.evaluate(text("#problem")), "This user likes this product already.")
  );
  // The browser notes every answer that is an error.
  const others = browser.problems.filter((problem) => !problem.includes("status of 400"));
  assert.deepEqual(others, []);

  service.kill("SIGKILL");
  await eventually(async () =>
    assert.equal(await copy.evaluate(text("#connection")), "Not connected, trying again")
  );
  await press(admin, "Delete");
  await test.create("made meanwhile");
  await test.start("service");
  await live();
  await both([["made meanwhile", "1.00", "0 likes"]]);
  assert.equal(await copy.evaluate("loadedOnce"), true);

  await test.create("x".repeat(255));
  const backgrounds = new Set<string>();
  for (const page of pages) {
    await eventually(async () => assert.equal((await page.evaluate<string[]>(products)).length, 2));
    for (const width of [1280, 360, 320]) {
      const metrics = { width, height: 640, deviceScaleFactor: 2, mobile: width < 1000 };
      await page.send("Emulation.setDeviceMetricsOverride", metrics);
      const needed = await page.evaluate<number>("document.documentElement.scrollWidth");
      assert(needed <= width, `${needed} of ${width} px`);
    }
    for (const value of ["light", "dark"]) {
      const features = [{ name: "prefers-color-scheme", value }];
      await page.send("Emulation.setEmulatedMedia", { features });
      backgrounds.add(
        await page.evaluate<string>("getComputedStyle(document.body).backgroundColor"),
      );
    }
  }
  assert.equal(backgrounds.size, 2);
});
