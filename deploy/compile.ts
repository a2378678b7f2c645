#!/usr/bin/env -S deno run --no-prompt --allow-env --allow-read --allow-write --allow-run --allow-sys
/**
 * Compile tools to single executables: `deno task compile`, or `deno task compile consumer-mongo`.
 *
 * Each tool is bundled first, so that its executable holds what it uses and nothing else of the workspace.
 * @module
 */
import { runTool, switchFlag, textFlag, UsageError } from "@event-sink/lib";
import { type PackagedTool, packagedTools } from "./tools.ts";

const root = new URL("../", import.meta.url).pathname;

/** By Deno's targets, how zeromq names their builds. */
const platforms: Record<string, string> = {
  "x86_64-unknown-linux-gnu": "linux/x64",
  "aarch64-unknown-linux-gnu": "linux/arm64",
  "x86_64-apple-darwin": "darwin/x64",
  "aarch64-apple-darwin": "darwin/arm64",
  "x86_64-pc-windows-msvc": "win32/x64",
};

await runTool(import.meta, {
  about: "Compile tools to single executables, all of them when none is named.",
  arguments: "[tools...]",
  notes: `Tools: ${packagedTools().map(({ name }) => name).join(", ")}`,
  flags: {
    output: textFlag("folder for the executables", { value: "DIR", default: "dist" }),
    target: textFlag("system that they are for", {
      value: "TRIPLE",
      default: Deno.build.target,
      parse(text) {
        if (text in platforms) return text;
        throw new TypeError(`expected ${Object.keys(platforms).join(", ")}, not '${text}'`);
      },
    }),
    bundle: switchFlag("write bundles for `deno run` instead, a folder for each tool"),
  },
}, async ({ flags, words, print }) => {
  const { output, target } = flags;
  const all = packagedTools();
  const unknown = words.find((word) => !all.some(({ name }) => name === word));
  if (unknown) throw new UsageError(`There is no tool '${unknown}'; see --help`);
  await Deno.mkdir(output, { recursive: true });
  for (const tool of all) {
    if (words.length > 0 && !words.includes(tool.name)) continue;
    if (flags.bundle) {
      const folder = `${output}/${tool.name}`;
      await bundle(tool, folder, target);
      await print(` [x] ${folder}/${tool.name}.js`);
    } else {
      const file = `${await Deno.realPath(output)}/${tool.name}${suffix(target)}`;
      const folder = await Deno.makeTempDir();
      try {
        await bundle(tool, folder, target);
        await compile(tool, { folder, file, target });
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
      await print(` [x] ${file} (${Math.round((await Deno.stat(file)).size / 1e6)} MB)`);
    }
  }
});

function suffix(target: string): string {
  return target.includes("windows") ? ".exe" : "";
}

/** Writes all that a tool consists of into a folder. */
async function bundle({ name, entry }: PackagedTool, folder: string, target: string) {
  await Deno.mkdir(folder, { recursive: true });
  const file = `${folder}/${name}.js`;
  await bundleFile(entry, file);
  const text = await Deno.readTextFile(file);
  // What the bundler cannot see: a thread's file, and a package with a native addon.
  if (/new URL\("thread.ts", ?import.meta.url\)/.test(text)) {
    await bundleFile("reactor/handlers/thread.ts", `${folder}/thread.ts`);
  }
  if (/from ?"zeromq"/.test(text)) await copyZeromq(folder, platforms[target]!);
}

async function bundleFile(entry: string, output: string): Promise<void> {
  await deno(["bundle", "-q", "--minify", "--external", "zeromq", "-o", output, entry], root);
}

async function compile(
  { name, permissions }: PackagedTool,
  { folder, file, target }: { folder: string; file: string; target: string },
): Promise<void> {
  const own = permissions.map((flag) => flag.replace(/=\$\(.*/, "")); // a path of this machine's
  const thread = await exists(`${folder}/thread.ts`) ? ["--include", "thread.ts"] : [];
  const packages = await exists(`${folder}/node_modules`) ? ["--include", "node_modules"] : [];
  const fixed = ["compile", "-q", "--no-check", "--no-prompt", "--target", target, "-o", file];
  await deno([...fixed, ...own, ...thread, ...packages, `${name}.js`], folder);
}

/**
 * Copies the package with its addon for one platform; it has builds for all. Its loader takes the newest build whose system, processor and C
 * library fit (https://github.com/aminya/cmake-ts/blob/v1.0.2/src/loader.ts), and Deno's own are for glibc.
 */
async function copyZeromq(folder: string, platform: string): Promise<void> {
  const zeromq = new URL("../", import.meta.resolve("zeromq"));
  const own = JSON.parse(await Deno.readTextFile(new URL("package.json", zeromq)));
  const loader = new URL(`../../cmake-ts/${own.dependencies["cmake-ts"]}/`, zeromq);
  const modules = `${folder}/node_modules`;
  const manifest = JSON.parse(await Deno.readTextFile(new URL("build/manifest.json", zeromq)));
  const builds = Object.entries<string>(manifest)
    .map(([key, path]) => ({ key, path, ...JSON.parse(key) }))
    .filter(({ os, arch, libc }) => `${os}/${arch}` === platform && libc !== "musl")
    .sort((one, other) => other.abi - one.abi);
  const [build] = builds;
  if (!build) throw new Error(`zeromq has no build for ${platform}`);
  await copyFile(new URL("package.json", zeromq), `${modules}/zeromq/package.json`);
  for await (const { name } of Deno.readDir(new URL("lib/", zeromq))) {
    if (/\.js$/.test(name)) {
      await copyFile(new URL(`lib/${name}`, zeromq), `${modules}/zeromq/lib/${name}`);
    }
  }
  await copyFile(new URL(`build/${build.path}`, zeromq), `${modules}/zeromq/build/${build.path}`);
  await Deno.writeTextFile(
    `${modules}/zeromq/build/manifest.json`,
    JSON.stringify({ [build.key]: build.path }),
  );
  for (const file of ["package.json", "build/loader.js"]) {
    await copyFile(new URL(file, loader), `${modules}/cmake-ts/${file}`);
  }
  const dependencies = { zeromq: "*", "cmake-ts": "*" };
  await Deno.writeTextFile(`${folder}/package.json`, JSON.stringify({ dependencies }));
}

async function copyFile(from: URL, to: string): Promise<void> {
  await Deno.mkdir(to.replace(/\/[^/]*$/, ""), { recursive: true });
  await Deno.copyFile(from, to);
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

async function deno(args: string[], cwd: string): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (success) return;
  throw new Error(`deno ${args.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
}
