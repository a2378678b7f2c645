/**
 * A cluster of RabbitMQ 4 nodes on this machine.
 * @module
 */
import { pause, UsageError } from "@event-sink/lib";
import { type Running, start } from "../lib/testing.ts";
import { type Part, startPart } from "./part.ts";
import { freePort } from "./servers.ts";

/** Nodes that run. Dispose it to end them and remove what they have stored. */
export interface Cluster extends AsyncDisposable {
  /** URL that names them all. */
  amqpUrl: string;
  nodes: Part[];
  /** Resolves when a node serves, false when it has not after two minutes. */
  serves(node: Part): Promise<boolean>;
}

/** How to start one. */
export interface ClusterOptions {
  /** Where a Debian with `rabbitmq-server` 4 is; `/` for this machine's own. */
  root: string;
  /** How many nodes. */
  size: number;
  violated: (what: string) => void;
  /** Gives up the start. */
  signal: AbortSignal;
}

const HOW = "make one as root: debootstrap --variant=minbase --include=rabbitmq-server trixie " +
  "/srv/trixie http://deb.debian.org/debian; and name it: --rabbitmq /srv/trixie";

/** Longest time that a node may take to start, in milliseconds. */
const START = 120_000;

/** What a node writes once it serves; lines of Erlang's may come between this and what is before it. */
const STARTED = /completed with \d+ plugins/;

/** Starts nodes that find each other, and waits until they are a cluster. */
export async function startCluster(
  { root, size, violated, signal }: ClusterOptions,
): Promise<Cluster> {
  checkVersion(root);
  if (root !== "/" && Deno.uid() !== 0) {
    throw new UsageError(`--rabbitmq ${root}: only root may mount what its nodes need there`);
  }
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir({ prefix: "chaos-cluster-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  await Deno.chmod(directory, 0o755); // Debian's scripts look into it as the user rabbitmq
  const inside = root === "/" ? directory : "/mnt";
  // Erlang's directory of node names; one of this cluster's own ends with it.
  const names = `${freePort()}`;
  stack.use(startPart({
    name: "epmd",
    spawn: () => enter(["epmd", "-port", names, "-address", "127.0.0.1"]),
    violated,
  }));
  const members = Array.from({ length: size }, (_, index) => ({
    name: `node-${index + 1}`,
    port: freePort(),
  }));
  const cookie = crypto.randomUUID();
  const nodes: Part[] = [];
  for (const { name, port } of members) {
    await prepare(name);
    nodes.push(stack.use(startPart({ name, spawn: () => spawn(name, port), violated })));
  }

  /** Runs a command in that Debian, whose `/mnt` is the directory here; the mounts are the process's own and end with it. */
  function enter(command: string[], env: Record<string, string> = {}): Running {
    if (root === "/") return start(command.slice(1), { command: command[0]!, env });
    const script = 'mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" && ' +
      'mount --bind "$1" "$0/mnt" && root=$0 && shift && exec chroot "$root" "$@"';
    const args = ["--mount", "sh", "-c", script, root, directory, ...command];
    return start(args, { command: "unshare", env });
  }
  async function prepare(name: string) {
    const folder = `${directory}/${name}`;
    await Deno.mkdir(folder);
    await Deno.writeTextFile(`${folder}/plugins`, "[].\n");
    await Deno.writeTextFile(`${folder}/.erlang.cookie`, cookie, { mode: 0o400 });
    await Deno.writeTextFile(
      `${folder}/rabbitmq.conf`,
      [
        // The nodes find each other by this list (https://www.rabbitmq.com/docs/cluster-formation#peer-discovery-classic-config).
        "cluster_formation.peer_discovery_backend = classic_config",
        ...members.map((each, index) =>
          `cluster_formation.classic_config.nodes.${index + 1} = ${nodeName(each.name)}`
        ),
        `cluster_formation.target_cluster_size_hint = ${size}`,
        "vm_memory_high_watermark.absolute = 1GB",
        "disk_free_limit.absolute = 50MB",
        "", // the last line needs its end
      ].join("\n"),
    );
  }
  function spawn(name: string, port: number): Running {
    const folder = `${inside}/${name}`;
    return enter(["/usr/lib/rabbitmq/bin/rabbitmq-server"], {
      PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      LANG: "C.UTF-8",
      HOME: folder,
      ERL_EPMD_PORT: names,
      RABBITMQ_NODENAME: nodeName(name),
      RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
      RABBITMQ_NODE_PORT: `${port}`,
      RABBITMQ_DIST_PORT: `${freePort()}`,
      RABBITMQ_MNESIA_BASE: `${folder}/mnesia`,
      RABBITMQ_LOG_BASE: `${folder}/log`,
      RABBITMQ_PID_FILE: `${folder}/pid`,
      RABBITMQ_ENABLED_PLUGINS_FILE: `${folder}/plugins`,
      RABBITMQ_CONFIG_FILE: `${folder}/rabbitmq.conf`,
      // Waiting for work without using the processor: several nodes share one machine.
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "+sbwt none +sbwtdcpu none +sbwtdio none",
      // The script becomes Erlang's machine, so that its pid is the one to kill.
      RUNNING_UNDER_SYSTEMD: "true",
    });
  }

  async function serves(node: Part): Promise<boolean> {
    const end = performance.now() + START;
    while (performance.now() < end) {
      if (node.up && STARTED.test(node.running.output.stdout)) return true;
      await pause(50, signal);
    }
    return false;
  }
  for (const node of nodes) {
    if (await serves(node)) continue;
    const { stdout, stderr } = node.running.output;
    throw new Error(`${node.name} does not start: ${(stderr || stdout).trim().slice(-1000)}`);
  }
  const owned = stack.move();
  return {
    amqpUrl: `amqp://guest:guest@${members.map(({ port }) => `127.0.0.1:${port}`).join(",")}`,
    nodes,
    serves,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function nodeName(name: string): string {
  return `chaos-${Deno.pid}-${name}@localhost`;
}

/** @throws {UsageError} when there is no RabbitMQ 4, with the way to get one */
function checkVersion(root: string): void {
  let versions: string[] = [];
  try {
    versions = [...Deno.readDirSync(`${root}/usr/lib/rabbitmq/lib`)].map(({ name }) => name);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (versions.some((name) => /^rabbitmq_server-([4-9]|\d\d)\./.test(name))) return;
  const found = versions.length > 0 ? `${versions.join(", ")} only` : "none";
  throw new UsageError(`There is no RabbitMQ 4 in ${root} (${found}): ${HOW}`);
}
