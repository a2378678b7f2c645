import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  connectProbe,
  eventually,
  type Running,
  start,
  startServers,
  startTool,
  unique,
} from "../../lib/testing.ts";
import { statusOf } from "../../lib/status_testing.ts";
import { setup as setupPipeline } from "../../pipeline/testing/services.ts";
import { setup as setupWorkers } from "../../reactor/testing/worker.ts";

const folder = new URL("./", import.meta.url).pathname;
const read = (name: string) => Deno.readTextFileSync(folder + name);

/** Runs promtool and returns what it says; without it, undefined: in CI it must be there. */
async function promtool(...args: string[]): Promise<string | undefined> {
  const command = new Deno.Command("promtool", { args, cwd: folder });
  let output;
  try {
    output = await command.output();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    if (Deno.env.get("CI")) assert.fail("Debian's package prometheus is not installed");
    console.log("Debian's package prometheus is not installed: not tested");
    return;
  }
  const said = new TextDecoder().decode(output.stdout) + new TextDecoder().decode(output.stderr);
  assert.equal(output.code, 0, said);
  return said;
}

/** The queries of the board's panels; Grafana fills its variables in. */
const queries: string[] = JSON.parse(read("dashboard.json")).panels.flatMap(
  ({ targets = [] }: { targets?: { expr: string }[] }) =>
    targets.map(({ expr }) => expr.replaceAll("$__rate_interval", "1m")),
);

/** The metrics that a text of queries names, without the series of a histogram. */
function metricsIn(text: string): Set<string> {
  const names = text.match(/\b(event_sink|messaging_(client|process)|process|nodejs)_\w+/g) ?? [];
  return new Set(names.map((name) => name.replace(/_(bucket|sum|count)$/, "")));
}
const rules = read("alerts.yml").split("\n").filter((line) => !/(summary|description):/.test(line));
const used = metricsIn([...queries, ...rules].join("\n"));

Deno.test("promtool: the example, the alerts and their tests are right", async () => {
  if (!await promtool("check", "config", "prometheus.yml")) return;
  await promtool("test", "rules", "alerts_test.yml");
  const alerts = [...read("alerts.yml").matchAll(/- alert: (\w+)/g)].map(([, name]) => name!);
  assert(alerts.length > 10);
  for (const alert of alerts) {
    assert.match(read("alerts_test.yml"), new RegExp(`name: "${alert}"`), alert);
    assert.match(read("alerts_test.yml"), new RegExp(`name: "${alert}: not, `), alert);
  }
});

Deno.test("every query of the board can be read by Prometheus", async () => {
  assert(queries.length > 20);
  const file = await Deno.makeTempFile({ suffix: ".yml" });
  try {
    const rules = queries.map((expr, index) => ({ record: `board:query_${index}`, expr }));
    await Deno.writeTextFile(file, JSON.stringify({ groups: [{ name: "board", rules }] }));
    await promtool("check", "rules", file);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("the board asks the Prometheus that is chosen, and its panels lie side by side, in the colours of light and dark", () => {
  const { panels } = JSON.parse(read("dashboard.json"));
  const taken = new Map<string, string>();
  for (const { type, title, gridPos: { x, y, w, h }, datasource, targets = [] } of panels) {
    for (let across = x; across < x + w; across++) {
      for (let down = y; down < y + h; down++) {
        const place = `${across}, ${down}`;
        assert(across < 24 && !taken.has(place), `${title} over ${taken.get(place)} at ${place}`);
        taken.set(place, title);
      }
    }
    if (type === "row") continue;
    const sources = [datasource, ...targets.map((target: typeof datasource) => target.datasource)];
    for (const source of sources) {
      assert.deepEqual(source, { type: "prometheus", uid: "${datasource}" }, title);
    }
  }
  assert.equal(new Set(panels.map(({ id }: { id: number }) => id)).size, panels.length);
  assert.doesNotMatch(read("dashboard.json"), /"#[0-9a-f]{3,8}"|rgba?\(/i);
});

Deno.test("alerts and board use metrics that docs/operate.md explains", () => {
  const [, table = ""] = Deno.readTextFileSync(`${folder}../../docs/operate.md`).split(
    "\n## Metrics\n",
  );
  const unknown = [...used].filter((name) =>
    !table.includes(`\`${name}\``) &&
    !(name.startsWith("process_") && table.includes("`process_*`"))
  );
  assert.deepEqual(unknown, []);
});

/** A Prometheus that looks at these tools each second, with the alert rules. */
async function startPrometheus(targets: Record<string, string>) {
  const directory = await Deno.makeTempDir();
  const static_configs = Object.entries(targets).map(([tool, url]) => ({
    targets: [new URL(url).host],
    labels: { tool },
  }));
  const config = {
    global: { scrape_interval: "1s", evaluation_interval: "1s" },
    rule_files: [`${folder}alerts.yml`],
    scrape_configs: [{ job_name: "event-sink", static_configs }],
  };
  await Deno.writeTextFile(`${directory}/prometheus.yml`, JSON.stringify(config));
  const process = start([
    `--config.file=${directory}/prometheus.yml`,
    `--storage.tsdb.path=${directory}/data`,
    "--web.listen-address=127.0.0.1:0",
  ], { command: "prometheus" });
  const [, address] = await process.seen(/msg="Listening on" address=(\S+)/);
  async function ask(path: string) {
    const answer = await (await fetch(`http://${address}/api/v1/${path}`)).json();
    assert.equal(answer.status, "success", JSON.stringify(answer));
    return answer.data;
  }
  return {
    ask,
    /** A query's value, of one series. */
    async value(query: string): Promise<number> {
      const { result } = await ask(`query?query=${encodeURIComponent(query)}`);
      assert.equal(result.length, 1, query);
      return Number(result[0].value[1]);
    },
    async [Symbol.asyncDispose]() {
      await process[Symbol.asyncDispose]();
      await Deno.remove(directory, { recursive: true });
    },
  };
}

/** A consumer, a pipeline and a worker, with their status served, and where. */
async function startTools() {
  await using stack = new AsyncDisposableStack();
  const { amqpUrl, mongoUrl } = stack.use(await startServers());
  const queue = unique("monitoring");
  const probe = stack.use(await connectProbe(amqpUrl, { queues: [queue] }));
  const pipeline = stack.use(await setupPipeline());
  const workers = stack.use(await setupWorkers({ "mod.ts": "export const f = () => 1;" }));
  const serve = ["--status-port", "0"];
  const named = ["--queue", queue, "--database", "test_monitoring"];
  const recv = stack.use(
    startTool("consumers/mongo", "recv", [...named, ...serve], {
      AMQP_URL: amqpUrl,
      MONGO_URL: mongoUrl,
    }),
  );
  await pipeline.start("datagen");
  const distributor: Running = await pipeline.start("distributor", serve);
  const worker = await workers.worker(serve);
  const targets: Record<string, string> = {
    recv: await statusOf(recv),
    datagen: pipeline.url("datagen"),
    distributor: await statusOf(distributor),
    worker: await statusOf(worker),
  };
  await recv.seen(/Waiting for/);
  const owned = stack.move();
  return {
    recv,
    targets,
    /** Has each of them do something. */
    async use() {
      probe.channel.sendToQueue(queue, Buffer.from("stored"));
      await pipeline.post("?count=5");
      const [task] = await workers.add([{ driver: "func", handler: "mod.f" }]);
      await workers.result(task!);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test("Prometheus sees the tools, counts their messages, and alerts when one is gone", async () => {
  if (!await promtool("--version")) return;
  await using tools = await startTools();
  await using prometheus = await startPrometheus(tools.targets);
  const up = "sum(up{job='event-sink'})";
  await eventually(async () => assert.equal(await prometheus.value(up), 4));
  await eventually(async () => assert.equal(await prometheus.value("sum(event_sink_ready)"), 4));
  await tools.use();
  const acknowledged = "event_sink_acknowledged_messages_total";
  await eventually(async () => {
    assert.equal(await prometheus.value(`${acknowledged}{tool="recv"}`), 1);
    assert.equal(await prometheus.value(`${acknowledged}{tool="distributor"}`), 5);
    assert.equal(
      await prometheus.value('event_sink_attempts_total{tool="worker",status="done"}'),
      1,
    );
    const sent = 'sum(event_sink_confirmed_messages_total{tool="datagen"})';
    assert.equal(await prometheus.value(sent), 5);
  });
  const names: string[] = await prometheus.ask("label/__name__/values");
  const served = metricsIn(names.join("\n"));
  assert.deepEqual([...used].filter((name) => !served.has(name)), [], "served by no tool");
  for (const query of queries) {
    // Of the variables' default; rates need two scrapes of one second each, and `1m` has them.
    const filled = query.replaceAll(/\$(job|instance)/g, ".*");
    await eventually(async () => {
      const { result } = await prometheus.ask(`query?query=${encodeURIComponent(filled)}`);
      assert(result.length > 0, `nothing to see: ${filled}`);
    });
  }
  tools.recv.kill("SIGKILL");
  await eventually(async () => {
    const { alerts } = await prometheus.ask("alerts");
    const [alert] = alerts.filter(({ labels }: { labels: { tool: string } }) =>
      labels.tool === "recv"
    );
    assert.equal(alert?.labels.alertname, "EventSinkDown");
    assert.match(alert.annotations.description, /^Prometheus cannot get \/metrics of 127/);
  });
});
