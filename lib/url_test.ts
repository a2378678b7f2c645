import assert from "node:assert/strict";
import { nameOf } from "./url.ts";

Deno.test("nameOf() shows no user and no password, whatever they consist of", () => {
  const names = {
    "amqp://user:secret@host:5672/v": "amqp://host:5672/v",
    "mongodb://user:sec ret@host:27017": "mongodb://host:27017",
    "mongodb://us@er:secret@h1:1,h2:2/db?authSource=x": "mongodb://h1:1,h2:2/db",
    "mongodb+srv://user:sec/ret@host/db?password=secret": "mongodb+srv://host/db",
    "mongodb://localhost": "mongodb://localhost",
  };
  for (const [url, name] of Object.entries(names)) assert.equal(nameOf(url), name);
});
