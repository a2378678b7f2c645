/**
 * The file of a handler: `module.export`, inside the directory of the event handlers.
 * @module
 */
import { BadHandler } from "./execution.ts";

/**
 * Finds the file of `module.export`; `module` may name folders, with dots or slashes.
 *
 * @throws {BadHandler} when there is none inside the directory; a link that leads out of it is outside
 * @throws {Error} when there is no such directory
 */
export async function handlerFile(
  directory: string,
  handler: string,
  extensions: string[],
): Promise<{ file: string; name: string }> {
  const words = /^(?<module>[\w-]+(?:[./][\w-]+)*)\.(?<name>\w+)$/.exec(handler)?.groups;
  if (!words) {
    throw new BadHandler(
      `Cannot use the handler '${handler}': expected module.export, a file inside the directory of handlers`,
    );
  }
  const path = words.module!.replaceAll(".", "/");
  const inside = await Deno.realPath(directory).catch(() => {
    throw new Error(`There is no directory of handlers '${directory}'`); // it may come back
  });
  for (const extension of extensions) {
    const file = await Deno.realPath(`${inside}/${path}${extension}`).catch(() => undefined);
    if (file === undefined) continue;
    if (!file.startsWith(inside.replace(/\/?$/, "/"))) {
      throw new BadHandler(`Cannot use the handler '${handler}': its file is outside ${inside}`);
    }
    return { file, name: words.name! };
  }
  const names = extensions.map((extension) => path + extension).join(" or ");
  throw new BadHandler(`Cannot use the handler '${handler}': there is no ${names} in ${inside}`);
}
