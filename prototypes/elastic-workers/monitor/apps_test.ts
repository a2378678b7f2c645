import assert from "node:assert/strict";
import { stateOf } from "./api.ts";
import { createApps, TooManyApps } from "./apps.ts";

const silent = {
  debug() {},
  info() {},
  warn() {},
  setLevel() {},
  written: () => Promise.resolve(),
};

function setup(more: { window?: number } = {}) {
  return createApps({
    ...{ objective: 30, min: 0, max: 20, window: 60, shortWindow: 10, cooldown: 30, ...more },
    log: silent,
  });
}

Deno.test("an app has no number of workers wanted before its queue was seen, so that KEDA changes nothing", () => {
  const apps = setup();
  apps.watch("a");
  assert.equal(stateOf(apps, "a")!.workers_wanted, null);
  apps.decide("a", { waiting: 0, consumers: 0 });
  assert.equal(stateOf(apps, "a")!.workers_wanted, 0);
});

Deno.test("a monitor that has just come asks for more workers, not for fewer: others may not be back yet", () => {
  const apps = setup();
  apps.watch("a");
  assert.equal(apps.decide("a", { waiting: 0, consumers: 3 }), undefined);
  assert.equal(apps.decide("a", { waiting: 0, consumers: 4 }), undefined);
  assert.equal(apps.decide("a", { waiting: 100, consumers: 4 })!.workers, 7);
});

Deno.test("a monitor that has watched for a window asks for what it wants", () => {
  const apps = setup({ window: 0 });
  apps.watch("a");
  assert.equal(apps.decide("a", { waiting: 0, consumers: 3 })!.workers, 3);
});

Deno.test("apps that reports make up are limited in number", () => {
  const apps = setup();
  const report = (id: number) =>
    apps.reported({ app_id: `a${id}`, response_time: 1 }, `${id}`, false);
  for (let id = 0; id < 1000; id++) report(id);
  report(999);
  assert.throws(() => report(1000), TooManyApps);
});
