/**
 * Workers as real processes, and tasks for them, for the tests.
 * @module
 */
import assert from "node:assert/strict";
import { MongoClient } from "mongodb";
import {
  eventually,
  layCable,
  type Running,
  startServers,
  startTool,
  unique,
} from "../../lib/testing.ts";
import type { Entry } from "../handlers/entry.ts";
import { addTasks } from "../queue/add.ts";
import { openCollections } from "../queue/collections.ts";
import type { Result } from "../queue/result.ts";

/** A database, a directory of handlers, and workers when they are started. */
export async function setup(files: Record<string, string> = {}) {
  await using stack = new AsyncDisposableStack();
  const { mongoUrl } = stack.use(await startServers());
  const cable = stack.use(layCable(mongoUrl));
  const client = new MongoClient(mongoUrl);
  const db = client.db(unique("db").replaceAll(".", "-"));
  stack.defer(async () => {
    await db.dropDatabase();
    await client.close();
  });
  const directory = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  await Deno.mkdir(`${directory}/handlers`);
  const config = `${directory}/config.json`;
  const tasks = { database: db.databaseName, task_collection: "results" };
  await Deno.writeTextFile(config, JSON.stringify({ feeds: {}, celery: tasks }));
  const write = async (name: string, text: string) => {
    await Deno.writeTextFile(`${directory}/handlers/${name}`, text);
    await Deno.chmod(`${directory}/handlers/${name}`, 0o755);
  };
  for (const [name, text] of Object.entries(files)) await write(name, text);
  const collections = await openCollections(db, "results");
  const owned = stack.move();
  let number = 0;
  return {
    db,
    cable,
    config,
    directory,
    mongoUrl,
    collections,
    /** Writes an executable file into the directory of handlers. */
    write,
    /** Starts a worker and waits until it is ready. */
    async worker(
      args: string[] = [],
      url = mongoUrl,
      env: Record<string, string> = {},
    ): Promise<Running> {
      const folders = ["-c", config, "--event-handlers", `${directory}/handlers`];
      const worker = owned.use(
        startTool("reactor", "worker", [...folders, ...args], { ...env, MONGO_URL: url }),
      );
      await worker.seen(/Waiting for tasks/);
      return worker;
    },
    /** Adds a task for each entry, and returns their ids. */
    async add(
      entries: Entry[],
      payload: unknown = { a: 1 },
      event_type = "zmq.test",
    ): Promise<string[]> {
      const news = entries.map((entry) => {
        const event = { namespace: "local", event_type, payload, number: ++number };
        const { namespace } = event;
        return { _id: `t${number}`, event: JSON.stringify(event), namespace, event_type, entry };
      });
      await addTasks(collections, news);
      return news.map(({ _id }) => _id);
    },
    /** Waits for the result of a task, which is then over. */
    result: (id: string, limit?: number): Promise<Result> =>
      eventually(async () => {
        const result = await collections.results.findOne({ _id: id });
        const task = await collections.tasks.findOne({ _id: id });
        assert(result && /done|failed/.test(task!.status), `no result of ${id}`);
        return result;
      }, limit),
    /** The lines of a file that handlers write to. */
    async lines(name: string): Promise<string[]> {
      const text = await Deno.readTextFile(`${directory}/handlers/${name}`).catch(() => "");
      return text.split("\n").slice(0, -1);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Whether a process of this id is there and no zombie. Deno itself may not read /proc without every permission. */
export async function alive(pid: number): Promise<boolean> {
  assert(pid > 1, `a process id: ${pid}`);
  const cat = new Deno.Command("cat", { args: [`/proc/${pid}/status`], stderr: "null" });
  const { success, stdout } = await cat.output();
  return success && !/^State:\s+Z/m.test(new TextDecoder().decode(stdout));
}
