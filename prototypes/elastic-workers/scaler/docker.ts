/**
 * Workers as containers, by the Docker Engine's API (https://docs.docker.com/reference/api/engine/) on its Unix socket.
 * @module
 */
import { request } from "node:http";
import { Buffer } from "node:buffer";
import type { Driver } from "./pools.ts";

/** How to start them. */
export interface DockerDriverOptions {
  /** Goes to the workers in the environment: everybody on the machine can read arguments. */
  amqpUrl: string;
  socket: string;
  /** Image, in which `<app_id>` stands for the app; its entry point is the worker. */
  image: string;
  /** Network mode of the containers: a network's name, `host`, ... */
  network: string;
  /** Further arguments of each. */
  arguments: string[];
}

const VERSION = "/v1.41";
const LABEL = "event-sink.elastic-workers.app";
/** Name of a container that was asked to stop, and finishes its upload: it counts no more, for the next scaler neither. */
const STOPPING = "stopping-";
/** Milliseconds that the daemon may take for an answer. */
const ANSWER_LIMIT = 30_000;

/** Returns the driver. Containers of an earlier scaler are found again by their label; they outlive the scaler. */
export function dockerDriver(options: DockerDriverOptions): Driver {
  const { amqpUrl, socket, network } = options;

  function call(method: string, path: string, body?: unknown): Promise<Buffer> {
    const text = body === undefined ? "" : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`Cannot ask Docker (${socket}): ${why}`));
      const asking = request({
        socketPath: socket,
        method,
        path: VERSION + path,
        headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text) },
        timeout: ANSWER_LIMIT,
      }, (answer) => {
        const parts: Buffer[] = [];
        answer.on("data", (part: Buffer) => parts.push(part));
        answer.on("error", (error: Error) => fail(error.message));
        answer.on("end", () => {
          const whole = Buffer.concat(parts);
          if (answer.statusCode! < 400) return resolve(whole);
          fail(`${method} ${path}: ${answer.statusCode}: ${reason(whole)}`);
        });
      });
      asking.on("error", (error: Error) => fail(error.message));
      asking.on("timeout", () => {
        asking.destroy();
        fail("no answer");
      });
      asking.end(text);
    });
  }
  /** The last line that a worker printed says what it does. */
  async function isBusy(id: string): Promise<boolean> {
    const log = await call("GET", `/containers/${id}/logs?stdout=1&tail=1`);
    return log.includes(" [x] Uploading ");
  }

  return {
    async list(appId) {
      const filters = encodeURIComponent(JSON.stringify({ label: [`${LABEL}=${appId}`] }));
      const found = JSON.parse(
        (await call("GET", `/containers/json?filters=${filters}`)).toString(),
      );
      const taking = (found as { Id: string; Names: string[] }[])
        .filter(({ Names: [name] }) => !name!.startsWith(`/${STOPPING}`));
      return await Promise.all(
        taking.map(async ({ Id }) => ({ name: Id, busy: await isBusy(Id) })),
      );
    },
    async start(appId, count) {
      for (; count > 0; count--) {
        const name = `${appId}-${crypto.randomUUID().slice(0, 8)}`;
        const created = await call("POST", `/containers/create?name=${name}`, {
          Image: options.image.replace("<app_id>", appId),
          Cmd: ["--app-id", appId, "--name", name, ...options.arguments],
          Env: [`AMQP_URL=${amqpUrl}`],
          Labels: { [LABEL]: appId },
          HostConfig: { AutoRemove: true, NetworkMode: network },
        });
        const id = JSON.parse(created.toString()).Id;
        try {
          await call("POST", `/containers/${id}/start`);
        } catch (error) {
          await call("DELETE", `/containers/${id}`);
          throw error;
        }
      }
    },
    async stop(_appId, workers) {
      for (const { name: id } of workers) {
        await call("POST", `/containers/${id}/rename?name=${STOPPING}${id.slice(0, 12)}`);
        await call("POST", `/containers/${id}/kill?signal=SIGTERM`);
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function reason(body: Buffer): string {
  try {
    return JSON.parse(body.toString()).message;
  } catch {
    return body.toString().slice(0, 200);
  }
}
