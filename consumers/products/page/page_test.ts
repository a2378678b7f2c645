/**
 * Both pages in a real browser. Where it is not installed the test says so and ends; in CI it fails.
 */
import assert from "node:assert/strict";
import { installed, startBrowser } from "../../../lib/browser_testing.ts";
import { eventually } from "../../../lib/testing.ts";
import { setup } from "../testing.ts";

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
