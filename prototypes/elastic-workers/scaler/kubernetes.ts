/**
 * Workers as the replicas of a Deployment, by the Kubernetes API from within a pod
 * (https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/). Kubernetes chooses which pod goes; it gets SIGTERM, and finishes its
 * upload within the pod's `terminationGracePeriodSeconds`.
 * @module
 */
import type { Driver } from "./pools.ts";

/** Where the API is, and what is scaled. */
export interface KubernetesDriverOptions {
  /** Directory of the pod's service account: `token`, `ca.crt`, `namespace`. */
  serviceAccount: string;
  /** Name of the deployment, in which `<app_id>` stands for the app. */
  deployment: string;
  /** `host:port` of the API. */
  host: string;
}

/** Milliseconds that the API may take for an answer. */
const ANSWER_LIMIT = 30_000;

/** Returns the driver. @throws when this is no pod with a service account */
export async function kubernetesDriver(options: KubernetesDriverOptions): Promise<Driver> {
  const { serviceAccount, deployment, host } = options;
  async function read(name: string): Promise<string> {
    try {
      return (await Deno.readTextFile(`${serviceAccount}/${name}`)).trim();
    } catch (error) {
      throw new Error(`Cannot read the pod's service account: ${(error as Error).message}`);
    }
  }
  const namespace = await read("namespace");
  const client = Deno.createHttpClient({ caCerts: [await read("ca.crt")] });

  /** Reads or sets the number of replicas (autoscaling/v1, Scale). */
  async function scale(appId: string, replicas?: number): Promise<number> {
    const name = encodeURIComponent(deployment.replace("<app_id>", appId));
    const path = `/apis/apps/v1/namespaces/${namespace}/deployments/${name}/scale`;
    const method = replicas === undefined ? "GET" : "PATCH";
    const answer = await fetch(`https://${host}${path}`, {
      client,
      method,
      headers: {
        authorization: `Bearer ${await read("token")}`, // it is renewed while the pod runs
        ...replicas === undefined ? {} : { "content-type": "application/merge-patch+json" },
      },
      body: replicas === undefined ? undefined : JSON.stringify({ spec: { replicas } }),
      signal: AbortSignal.timeout(ANSWER_LIMIT),
    }).catch((error) => {
      throw new Error(
        `Cannot reach the Kubernetes API at ${host}: ${error.cause ?? error.message}`,
      );
    });
    const body = await answer.json().catch(() => ({}));
    if (answer.ok) return Number(body.spec?.replicas ?? 0);
    throw new Error(
      `Cannot scale ${name} by Kubernetes: ${method}: ${answer.status}: ${
        body.message ?? "no reason"
      }`,
    );
  }
  const replicasOf = async (appId: string) => await scale(appId);

  return {
    async list(appId) {
      return Array.from({ length: await replicasOf(appId) }, (_, index) => ({ name: `${index}` }));
    },
    async start(appId, count) {
      await scale(appId, await replicasOf(appId) + count);
    },
    async stop(appId, workers) {
      await scale(appId, Math.max(0, await replicasOf(appId) - workers.length));
    },
    [Symbol.asyncDispose]() {
      client.close();
      return Promise.resolve();
    },
  };
}
