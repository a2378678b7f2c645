import assert from "node:assert/strict";

const units = new URL("systemd/", import.meta.url).pathname;

async function analyze(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command("systemd-analyze", { args }).output();
  return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

const isThere = await analyze("--version").then(({ code }) => code === 0, () => false);

Deno.test({ name: "the units are right, and grant little", ignore: !isThere }, async () => {
  for (const { name } of Deno.readDirSync(units)) {
    const verified = await analyze("verify", units + name);
    assert.deepEqual(verified, { code: 0, text: "" });
    // Of 10, which is everything; in systemd-analyze's tenths.
    const { code, text } = await analyze(
      "security",
      "--offline=true",
      "--threshold=18",
      units + name,
    );
    assert.equal(code, 0, text);
  }
});
