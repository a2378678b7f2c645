/**
 * The docker driver against a daemon, where there is one: `DOCKER_SOCKET`, or the usual place. The image is made from nothing but Deno, what it links
 * to, and the tools.
 */
import assert from "node:assert/strict";
import { eventually, root } from "../../../lib/testing.ts";
import { setup } from "../testing/setup.ts";
import { dockerDriver } from "./docker.ts";

const socket = Deno.env.get("DOCKER_SOCKET") || "/var/run/docker.sock";

function hasDaemon(): boolean {
  try {
    return Deno.statSync(socket).isSocket === true;
  } catch {
    console.log(`there is no Docker daemon at ${socket}: not tested`);
    return false;
  }
}

async function run(command: string, args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}
const docker = (...args: string[]) => run("docker", ["-H", `unix://${socket}`, ...args]);

/** An image whose entry point is the worker. */
async function makeImage(name: string, directory: string): Promise<void> {
  const deno = Deno.execPath();
  const libraries = (await run("ldd", [deno])).match(/\/\S+(?= \(0x)/g)!;
  const cache = JSON.parse(await run(deno, ["info", "--json"])).npmCache;
  const files = ["deno.json", "deno.lock", "lib", "prototypes", "consumers", "pipeline", "reactor"]
    .concat("bench", "embedded").map((file) => root + file);
  const tar = `${directory}/image.tar`;
  await run("tar", [
    ...["-chf", tar, "--transform", `s#^${cache}#cache/npm#`],
    ...["--transform", `s#^${deno}#bin/deno#`, "--transform", `s#^${root}#app/#`],
    ...["--exclude", `${root}node_modules`, "-P", "--transform", "s#^/##"],
    ...[deno, ...libraries, cache, ...files],
  ]);
  const entry = ["/bin/deno", "run", "--cached-only", "--no-prompt", "--allow-net", "--allow-read"]
    .concat("--allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL")
    .concat("/app/prototypes/elastic-workers/worker.ts");
  await docker(
    ...["import", "--change", `ENTRYPOINT ${JSON.stringify(entry)}`],
    ...["--change", "ENV DENO_DIR=/cache", tar, name],
  );
}

Deno.test("scaler --driver docker starts containers, finds them again, stops an idle one first and lets a busy one finish", async () => {
  if (!hasDaemon()) return;
  await using test = await setup("docker");
  const { appId, queues } = test;
  await test.probe.channel.assertQueue(queues.upload, { durable: true });
  const image = `${appId.replaceAll(".", "-")}_worker_container/dst2018:0.1`;
  await makeImage(image, test.directory);
  await using _image = {
    async [Symbol.asyncDispose]() {
      const left = (await docker("ps", "-aq", "--filter", `label=${label}`)).split("\n");
      for (const id of left.filter(Boolean)) await docker("rm", "-f", id);
      await docker("rmi", "-f", image);
    },
  };
  const label = `event-sink.elastic-workers.app=${appId}`;
  const names = async () =>
    (await docker("ps", "--filter", `label=${label}`, "--format", "{{.Names}}")).split("\n")
      .filter((name) => name !== "" && !name.startsWith("stopping-"));
  const args = ["--driver", "docker", "--docker-socket", socket, "--network", "host"]
    .concat("--image", image, "--", "--upload-time", "3");
  const first = test.start("scaler", ...args);
  await first.seen(/Waiting for scale requests/);
  test.send(queues.scale, { app_id: appId, workers: 2 });
  await eventually(async () => {
    const { consumerCount } = await test.probe.channel.checkQueue(queues.upload);
    assert.equal(consumerCount, 2);
  }, 60_000);
  const before = await names();
  // The broker's URL is in the environment, not among the arguments.
  assert.doesNotMatch(await docker("ps", "--no-trunc", "--format", "{{.Command}}"), /amqp:/);
  await test.counts(queues.scale, 0);
  first.kill("SIGKILL");
  await first.ended();

  const second = test.start("scaler", ...args);
  test.send(queues.upload, { uri: "http://example.org/a" }, { messageId: "slow" });
  await test.counts(queues.upload, 0);
  test.send(queues.scale, { app_id: appId, workers: 1 });
  await second.seen(/: 2 to 1 workers/);
  await eventually(async () => assert.equal((await names()).length, 1));
  const [kept] = await names();
  assert(before.includes(kept!));
  const { id, report } = await test.report();
  assert.deepEqual([id, report.worker], ["slow", kept]); // the idle one had to go
  test.send(queues.upload, { uri: "http://example.org/b" }, { messageId: "last" });
  await test.counts(queues.upload, 0);
  test.send(queues.scale, { app_id: appId, workers: 0 });
  assert.equal((await test.report()).id, "last");
  await eventually(async () =>
    assert.deepEqual(await docker("ps", "-aq", "--filter", `label=${label}`), "")
  );
});

Deno.test("a container that cannot be started is removed", async () => {
  const directory = await Deno.makeTempDir({ prefix: "event-sink-docker-" });
  const path = `${directory}/docker.sock`;
  const requests: string[] = [];
  const server = Deno.serve({ path, onListen() {} }, ({ method, url }) => {
    const { pathname } = new URL(url);
    requests.push(`${method} ${pathname}`);
    if (pathname.endsWith("/create")) return Response.json({ Id: "abc" }, { status: 201 });
    if (method === "DELETE") return new Response(null, { status: 204 });
    return Response.json({ message: "network lost not found" }, { status: 404 });
  });
  await using driver = dockerDriver({
    ...{ amqpUrl: "amqp://localhost", socket: path, image: "worker", network: "lost" },
    arguments: [],
  });
  await assert.rejects(driver.start("e1", 1), /start: 404: network lost not found/);
  assert.deepEqual(requests, [
    "POST /v1.41/containers/create",
    "POST /v1.41/containers/abc/start",
    "DELETE /v1.41/containers/abc",
  ]);
  await server.shutdown();
  await Deno.remove(directory, { recursive: true });
});
