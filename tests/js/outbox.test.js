// What somebody has sent is not lost and not doubled, whatever the connection does.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Outbox } from "../../static/rooms/connection/outbox.js";
import { CommandRefused, ConnectionLost } from "../../static/rooms/connection/socket.js";
import { dice } from "./model_room.js";

/** Storage as browsers have it: its keys are its own properties, its methods are not. */
class Memory {
  getItem(key) {
    return Object.hasOwn(this, key) ? this[key] : null;
  }

  setItem(key, value) {
    this[key] = String(value);
  }

  removeItem(key) {
    delete this[key];
  }
}

function outboxWith(send, storage = new Memory()) {
  const seen = [];
  const later = [];
  const outbox = new Outbox({
    key: "outbox",
    storage,
    send,
    show: (entries) => seen.push(entries.map(({ text, state, detail }) => ({ text, state, detail }))),
    later: (work, seconds) => later.push({ work, seconds }),
  });
  return { outbox, storage, seen, later };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test("what was sent is shown until it is confirmed", async () => {
  const { outbox, storage, seen } = outboxWith(async () => ({}));

  outbox.add("hello", null);
  assert.deepEqual(seen.at(-1), [{ text: "hello", state: "sending", detail: "" }]);
  await settled();

  assert.deepEqual(seen.at(-1), []);
  assert.deepEqual(Object.keys(storage), []);
});

test("what was lost on the way is sent again under the same id", async () => {
  const ids = [];
  let up = false;
  const { outbox } = outboxWith(async ({ client_id: id }) => {
    ids.push(id);
    if (!up) throw new ConnectionLost();
  });

  outbox.add("hello", ["persona"]);
  await settled();
  up = true;
  await outbox.flush();

  assert.equal(ids.length, 2);
  assert.equal(ids[0], ids[1]);
  assert.equal(outbox.entries.length, 0);
});

test("what is unsent when the page closes is sent by the next page", async () => {
  const storage = new Memory();
  const first = outboxWith(async () => Promise.reject(new ConnectionLost()), storage);
  first.outbox.add("hello", null);
  await settled();

  const sent = [];
  const second = outboxWith(async (entry) => void sent.push(entry), storage);
  await second.outbox.flush();

  assert.deepEqual(
    sent.map(({ text, client_id: id }) => [text, id]),
    [["hello", first.outbox.entries[0].client_id]],
  );
  assert.deepEqual(Object.keys(storage), []);
});

test("messages keep the order in which they were written", async () => {
  const sent = [];
  const { outbox } = outboxWith(async ({ text }) => {
    await settled();
    sent.push(text);
  });

  for (const text of ["one", "two", "three"]) outbox.add(text, null);
  await settled();
  while (outbox.entries.length) await settled();

  assert.deepEqual(sent, ["one", "two", "three"]);
});

test("a refused message stays, with the reason, and the next one goes", async () => {
  const sent = [];
  const { outbox, seen } = outboxWith(async ({ text }) => {
    if (text === "bad") throw new CommandRefused({ code: "invalid", detail: "Not like this." });
    sent.push(text);
  });

  outbox.add("bad", null);
  outbox.add("good", null);
  await settled();

  assert.deepEqual(seen.at(-1), [{ text: "bad", state: "refused", detail: "Not like this." }]);
  assert.deepEqual(sent, ["good"]);
});

test("a refused message can be sent again or taken back", async () => {
  let refuse = true;
  const { outbox } = outboxWith(async () => {
    if (refuse) throw new CommandRefused({ code: "forbidden", detail: "No." });
  });
  outbox.add("one", null);
  outbox.add("two", ["persona"]);
  await settled();
  const [one, two] = outbox.entries;

  assert.equal(outbox.takeBack(two.client_id).text, "two");
  refuse = false;
  outbox.again(one.client_id);
  await settled();

  assert.deepEqual(outbox.entries, []);
});

test("too much at once waits for as long as the server says", async () => {
  let refuse = true;
  const { outbox, later } = outboxWith(async () => {
    if (refuse) throw new CommandRefused({ code: "rate_limited", detail: "Slowly.", retry_after: 7 });
  });

  outbox.add("hello", null);
  await settled();
  assert.equal(outbox.entries[0].state, "sending");
  assert.equal(later[0].seconds, 7);
  refuse = false;
  later[0].work();
  await settled();

  assert.equal(outbox.entries.length, 0);
});

test("a message that the room shows already is not shown twice", async () => {
  let confirm;
  const { outbox, seen } = outboxWith(() => new Promise((resolve) => (confirm = resolve)));
  outbox.add("hello", null);
  outbox.add("hello", null);

  outbox.arrived("hello");
  assert.equal(seen.at(-1).length, 1);
  outbox.arrived("something else");
  assert.equal(seen.at(-1).length, 1);
  confirm({});
  await settled();

  assert.equal(outbox.entries.length, 1);
});

test("two tabs of one room do not write over each other", async () => {
  const storage = new Memory();
  const [one, two] = [1, 2].map(() => outboxWith(async () => Promise.reject(new ConnectionLost()), storage));
  one.outbox.add("from the one", null);
  two.outbox.add("from the other", null);
  await settled();
  one.outbox.takeBack(one.outbox.entries[0].client_id);

  const later = outboxWith(async () => {}, storage);

  assert.deepEqual(later.seen[0], [{ text: "from the other", state: "sending", detail: "" }]);
});

test("entries of other rooms and broken ones are left alone", () => {
  const storage = new Memory();
  storage.setItem("outbox.1", "{broken");
  storage.setItem("outboxes.2", JSON.stringify({ client_id: "2", at: 1, text: "elsewhere" }));

  assert.deepEqual(outboxWith(async () => {}, storage).outbox.entries, []);
});

test("without storage nothing of this page is lost", async () => {
  const full = new Memory();
  full.setItem = () => {
    throw new Error("QuotaExceededError");
  };
  // Not a key of its own, as in browsers.
  Object.defineProperty(full, "setItem", { enumerable: false });

  for (const storage of [full, null]) {
    const { outbox } = outboxWith(async () => Promise.reject(new ConnectionLost()), storage);
    outbox.add("hello", null);
    await settled();
    assert.equal(outbox.entries[0].text, "hello");
  }
});

test("over any connection every message arrives once", async () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const roll = dice(seed);
    const room = new Map();
    const { outbox } = outboxWith(async (entry) => {
      if (roll.chance(0.3)) throw new ConnectionLost(); // before it came
      room.set(entry.client_id, entry.text);
      if (roll.chance(0.3)) throw new ConnectionLost(); // before the answer came back
    });

    const texts = Array.from({ length: 10 }, (_, n) => `message ${n}`);
    for (const text of texts) outbox.add(text, null);
    while (outbox.entries.length) {
      await outbox.flush();
      await settled();
    }

    assert.deepEqual([...room.values()], texts);
  }
});
