/**
 * Finds the file of a handler `module.export`, inside the directory of the event handlers.
 * @module
 */
import { BadHandler } from "./execution.ts";

/**
 * Finds the file of `module.export`, for example `mail/send.ts` for `mail.send.text` or `mail/send.text`.
 *
 * @param extensions tried in this order, with their dots
 * @returns the file, with links resolved, and the name of the export
 * @throws {BadHandler} when there is no such file inside the directory, or it is a link that leads out of it
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
