// The outbox loses no message and the server stores no message twice, on any connection.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Outbox } from "../../static/rooms/connection/outbox.js";
import { CommandRefused, ConnectionLost } from "../../static/rooms/connection/socket.js";
import { seededRandom } from "./model_room.js";

/** A Storage like that of browsers: the keys are own properties, the methods are not. */
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

test("a sent message is shown until it is confirmed", async () => {
  const { outbox, storage, seen } = outboxWith(async () => ({}));

  outbox.add("hello", null);
  assert.deepEqual(seen.at(-1), [{ text: "hello", state: "sending", detail: "" }]);
  await settled();

  assert.deepEqual(seen.at(-1), []);
  assert.deepEqual(Object.keys(storage), []);
});

test("a message without confirmation is sent again with the same client_id", async () => {
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

test("an unsent message is sent by the next page", async () => {
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

test("a refused message stays with its reason and the next message is sent", async () => {
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

test("a refused message is shown although the timeline has another one with its text", async () => {
  let refuse = () => {};
  const { outbox, seen } = outboxWith(() => new Promise((_, reject) => (refuse = reject)));
  outbox.add("ok", null);
  outbox.arrived("ok");
  assert.deepEqual(seen.at(-1), []);

  refuse(new CommandRefused({ code: "forbidden", detail: "The room is archived." }));
  await settled();

  assert.deepEqual(seen.at(-1), [{ text: "ok", state: "refused", detail: "The room is archived." }]);
});

test("a refused message can be sent again or removed", async () => {
  let refuse = true;
  const { outbox } = outboxWith(async () => {
    if (refuse) throw new CommandRefused({ code: "forbidden", detail: "No." });
  });
  outbox.add("one", null);
  outbox.add("two", ["persona"]);
  await settled();
  const [one, two] = outbox.entries;

  assert.equal(outbox.remove(two.client_id).text, "two");
  refuse = false;
  outbox.again(one.client_id);
  await settled();

  assert.deepEqual(outbox.entries, []);
});

test("a rate-limited message waits for retry_after seconds", async () => {
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

test("an entry is hidden when the timeline shows its message", async () => {
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

test("two tabs of a room do not overwrite each other's entries", async () => {
  const storage = new Memory();
  const [one, two] = [1, 2].map(() => outboxWith(async () => Promise.reject(new ConnectionLost()), storage));
  one.outbox.add("from the one", null);
  two.outbox.add("from the other", null);
  await settled();
  one.outbox.remove(one.outbox.entries[0].client_id);

  const later = outboxWith(async () => {}, storage);

  assert.deepEqual(later.seen[0], [{ text: "from the other", state: "sending", detail: "" }]);
});

test("entries of other rooms and unreadable entries are ignored", () => {
  const storage = new Memory();
  storage.setItem("outbox.1", "{broken");
  storage.setItem("outboxes.2", JSON.stringify({ client_id: "2", at: 1, text: "elsewhere" }));

  assert.deepEqual(outboxWith(async () => {}, storage).outbox.entries, []);
});

test("without storage the entries of the page are kept in memory", async () => {
  const full = new Memory();
  full.setItem = () => {
    throw new Error("QuotaExceededError");
  };
  // Not enumerable, so that it is not a key, as in browsers.
  Object.defineProperty(full, "setItem", { enumerable: false });

  for (const storage of [full, null]) {
    const { outbox } = outboxWith(async () => Promise.reject(new ConnectionLost()), storage);
    outbox.add("hello", null);
    await settled();
    assert.equal(outbox.entries[0].text, "hello");
  }
});

test("every message arrives once over an unreliable connection", async () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const rng = seededRandom(seed);
    const room = new Map();
    const { outbox } = outboxWith(async (entry) => {
      if (rng.chance(0.3)) throw new ConnectionLost(); // before the server received the entry
      room.set(entry.client_id, entry.text);
      if (rng.chance(0.3)) throw new ConnectionLost(); // before the response arrived
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
