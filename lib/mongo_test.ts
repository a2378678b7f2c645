import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { failLateWrites } from "./mongo.ts";

Deno.test("a write after the server's end fails, also when the socket is destroyed already", async () => {
  failLateWrites();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const socket = connect((listener.addr as Deno.NetAddr).port, "127.0.0.1");
  const server = await listener.accept();
  server.close();
  socket.resume();
  await once(socket, "end");
  socket.destroy();
  assert.equal(socket.write("late"), false);
  const [error] = await once(socket, "error", { signal: AbortSignal.timeout(5000) }).catch(
    (error) => [error],
  );
  assert.match(error.message, /ended by the other party/);
});
