import assert from "node:assert/strict";
import { BadMessage } from "@event-sink/lib";
import { eventOf, eventTypes, messageOf } from "./event.ts";

const head = `"specversion":"1.0","id":"1","source":"/test","time":"2026-01-01T00:00:00Z"`;
const read = (body: string) => eventOf({ body: new TextEncoder().encode(body) }, eventTypes);
const object = (content: string) =>
  `{${head},"type":"OBJECT_CREATED","data":{"id":7,"name":"x","content":${content}}}`;

Deno.test("eventOf() keeps the numbers of a content as they were written", () => {
  const content = '[12345678901234567890,1.10,1e3,-0,0.00000001,5,-2.5,1E400,{"a":3.0}]';
  const event = read(object(content));
  assert(String(messageOf(event).body).includes(`"content":${content}`));
});

Deno.test("eventOf() reads numbers as other languages write them", () => {
  const task = `{"id":1,"object":{"id":12345678901234567890,"name":"x","content":0}}`;
  const event = read(
    `{${head},"type":"TASK_FINISHED","data":{"task":${task},"processor":"p","attempt":1.0,"spent":3.0}}`,
  );
  assert(event.type === "TASK_FINISHED");
  const { attempt, spent } = event.data;
  assert.deepEqual({ attempt, spent }, { attempt: 1, spent: 3 });
  assert.equal(event.data.task.id, "1");
  assert.equal(event.data.task.object.id, "12345678901234567890");
});

Deno.test("eventOf() gives short and printable reasons, whatever a message holds", () => {
  const long = "://".repeat(200_000);
  const escape = "\\u001b[31m\\nforged";
  const cases: [string, RegExp][] = [
    [`{${head},"type":"${long}"}`, /^event type "(:\/\/)+.*\.\.\. \(600002 characters\) is not/],
    [`{"specversion":"${long}","type":"x"}`, /^CloudEvents version "/],
    [`{${head},"type":"OBJECT_CREATED","data":"${long}"}`, /^OBJECT_CREATED: data: /],
    [`{${head},"type":"OBJECT_CREATED","data":"${escape}"}`, /^OBJECT_CREATED: data: /],
    [`{"x":"${long}`, /^the body is not JSON: /],
    [`\u001b[31m\n`, /^the body is not JSON: /],
    [
      `{${head},"type":"TASK_CREATED","data":{"id":"${"x".repeat(221)}","object":{}}}`,
      /data\.id: /,
    ],
    [object("[".repeat(200_000) + "]".repeat(200_000)), /^the body is not JSON: nested more/],
    [object("1").replace("00:00:00Z", "00:00:00+01"), /^OBJECT_CREATED: time: there is no/],
  ];
  for (const [body, reason] of cases) {
    assert.throws(() => read(body), (error: Error) => {
      assert(error instanceof BadMessage);
      assert.match(error.message, reason);
      assert(error.message.length < 400, `${error.message.length} characters`);
      assert.doesNotMatch(error.message, /\p{Cc}/u);
      return true;
    });
  }
});
