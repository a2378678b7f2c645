/**
 * The kubernetes driver against a small server that checks request, token and certificate as the API does.
 */
import assert from "node:assert/strict";
import { kubernetesDriver } from "./kubernetes.ts";

/** A certificate authority of this test, and a certificate that it has signed for 127.0.0.1. */
async function certificates(directory: string) {
  async function openssl(...args: string[]) {
    const { success, stderr } = await new Deno.Command("openssl", { args, cwd: directory })
      .output();
    assert(success, new TextDecoder().decode(stderr));
  }
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout"];
  await openssl(
    "req",
    "-x509",
    ...key,
    "ca.key",
    "-out",
    "ca.crt",
    "-days",
    "1",
    "-subj",
    "/CN=ca",
  );
  await openssl("req", ...key, "server.key", "-out", "server.csr", "-subj", "/CN=api");
  await Deno.writeTextFile(`${directory}/names`, "subjectAltName=IP:127.0.0.1");
  await openssl(
    ...["x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key"],
    ...["-CAcreateserial", "-out", "server.crt", "-days", "1", "-extfile", "names"],
  );
}

async function setup() {
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir({ prefix: "event-sink-kubernetes-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  await certificates(directory);
  await Deno.writeTextFile(`${directory}/namespace`, "uploads\n");
  await Deno.writeTextFile(`${directory}/token`, "secret-1");
  const state = { token: "secret-1", replicas: 0, requests: [] as string[] };
  const server = stack.use(Deno.serve({
    ...{ hostname: "127.0.0.1", port: 0, onListen() {} },
    cert: await Deno.readTextFile(`${directory}/server.crt`),
    key: await Deno.readTextFile(`${directory}/server.key`),
  }, async (request) => {
    const refuse = (status: number, message: string) =>
      Response.json({ kind: "Status", message }, { status });
    const { pathname } = new URL(request.url);
    state.requests.push(`${request.method} ${pathname}`);
    if (request.headers.get("authorization") !== `Bearer ${state.token}`) {
      return refuse(401, "Unauthorized");
    }
    if (pathname !== "/apis/apps/v1/namespaces/uploads/deployments/e1-worker/scale") {
      return refuse(404, "deployments.apps not found");
    }
    if (request.method === "PATCH") {
      if (request.headers.get("content-type") !== "application/merge-patch+json") {
        return refuse(415, "the body of the request was in an unknown format");
      }
      state.replicas = (await request.json()).spec.replicas;
    }
    return Response.json({ kind: "Scale", spec: { replicas: state.replicas } });
  }));
  const owned = stack.move();
  return {
    directory,
    state,
    host: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test("the kubernetes driver sets the replicas of a deployment with the pod's service account", async () => {
  await using test = await setup();
  const { directory: serviceAccount, host, state } = test;
  await using driver = await kubernetesDriver({
    serviceAccount,
    host,
    deployment: "<app_id>-worker",
  });
  assert.deepEqual(await driver.list("e1"), []);
  await driver.start("e1", 3);
  assert.equal(state.replicas, 3);
  await driver.stop("e1", (await driver.list("e1")).slice(0, 2));
  assert.equal(state.replicas, 1);
  // The token is renewed while the pod runs.
  state.token = "secret-2";
  await assert.rejects(driver.list("e1"), /GET: 401: Unauthorized/);
  await Deno.writeTextFile(`${serviceAccount}/token`, "secret-2\n");
  assert.equal((await driver.list("e1")).length, 1);
  await assert.rejects(
    driver.list("e2"),
    /Cannot scale e2-worker by Kubernetes: GET: 404: .*not found/,
  );
});

Deno.test("the kubernetes driver trusts the pod's CA alone, and says when this is no pod", async () => {
  await using test = await setup();
  await using other = await setup();
  await Deno.copyFile(`${other.directory}/ca.crt`, `${test.directory}/ca.crt`);
  const options = { host: test.host, deployment: "<app_id>-worker" };
  await using driver = await kubernetesDriver({ ...options, serviceAccount: test.directory });
  await assert.rejects(driver.list("e1"), /certificate/);
  assert.deepEqual(test.state.requests, []);
  await assert.rejects(
    kubernetesDriver({ ...options, serviceAccount: "/nowhere" }),
    /Cannot read the pod's service account/,
  );
});
