import assert from "node:assert/strict";
import fc from "fast-check";
import { Deque, Heap } from "./deque.ts";

Deno.test("a deque does what an array does", () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(), { freq: 3 }), { maxLength: 3000 }), (steps) => {
      const deque = new Deque<number>(), array: number[] = [];
      for (const step of steps) {
        if (step === null) assert.equal(deque.shift(), array.shift());
        else deque.push(step), array.push(step);
        assert.equal(deque.length, array.length);
        assert.equal(deque.at(0), array[0]);
        assert.equal(deque.at(array.length), undefined);
        assert.equal(deque.at(array.length - 1), array.at(-1));
      }
      assert.deepEqual(deque.drain(), array);
      assert.equal(deque.length, 0);
    }),
  );
});

Deno.test("a deque shrinks again after many values", () => {
  const deque = new Deque<number>();
  for (let i = 0; i < 100_000; i++) deque.push(i);
  for (let i = 0; i < 99_990; i++) assert.equal(deque.shift(), i);
  assert.deepEqual(deque.drain(), Array.from({ length: 10 }, (_, i) => 99_990 + i));
});

Deno.test("a heap gives the lowest position first", () => {
  fc.assert(fc.property(fc.array(fc.nat()), fc.nat(20), (positions, popped) => {
    const heap = new Heap<{ position: number }>();
    for (const position of positions) heap.push({ position });
    const sorted = positions.toSorted((a, b) => a - b);
    const found: (number | undefined)[] = [];
    for (let i = 0; i < Math.min(popped, positions.length); i++) {
      assert.equal(heap.peek()!.position, sorted[i]);
      found.push(heap.pop()!.position);
    }
    assert.equal(heap.length, positions.length - found.length);
    assert.deepEqual([...found, ...heap.drain().map(({ position }) => position)], sorted);
  }));
});
