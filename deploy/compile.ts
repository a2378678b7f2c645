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
  if (text.includes('new URL("thread.ts", import.meta.url)')) {
    await bundleFile("reactor/handlers/thread.ts", `${folder}/thread.ts`);
  }
  if (/from "zeromq"/.test(text)) await copyZeromq(folder, platforms[target]!);
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

/** The newest build of the addon for one platform; the package has those of all. */
async function copyZeromq(folder: string, platform: string): Promise<void> {
  const from = new URL("../", import.meta.resolve("zeromq")).pathname;
  console.log(from, folder, platform);
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
