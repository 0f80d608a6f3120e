// The connection finds its answers, knows why it was closed, and comes back.

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { delay, Lost, Refused, RoomSocket } from "../../static/rooms/socket.js";

class FakeSocket extends EventTarget {
  sent = [];

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  opens() {
    this.dispatchEvent(new Event("open"));
  }

  says(frame) {
    this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(frame) }));
  }

  drops(code = 1006) {
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }
}

function connection({ admission = async () => "unknown" } = {}) {
  const sockets = [];
  const states = [];
  const frames = [];
  const socket = new RoomSocket({
    open: () => {
      sockets.push(new FakeSocket());
      return sockets.at(-1);
    },
    onFrame: (frame) => frames.push(frame),
    onState: (state) => states.push(state),
    admission,
  });
  socket.connect();
  return { socket, sockets, states, frames };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

test("an answer finds whoever asked", async () => {
  const { socket, sockets } = connection();
  sockets[0].opens();

  const first = socket.request({ type: "run.cancel", run: "a" });
  const second = socket.request({ type: "run.retry", run: "b" });
  const [one, two] = sockets[0].sent;
  sockets[0].says({ type: "command.done", ref: two.ref, result: { run: "c" } });
  sockets[0].says({ type: "command.refused", ref: one.ref, code: "forbidden", detail: "No." });

  assert.deepEqual(await second, { run: "c" });
  await assert.rejects(first, (error) => error instanceof Refused && error.code === "forbidden");
});

test("every frame is passed on, the answers too", () => {
  const { sockets, frames } = connection();
  sockets[0].opens();

  sockets[0].says({ type: "room.snapshot", ref: "1" });
  sockets[0].says({ type: "message.delta" });

  assert.deepEqual(frames.map(({ type }) => type), ["room.snapshot", "message.delta"]);
});

test("a command without a connection is lost at once", async () => {
  const { socket } = connection();

  await assert.rejects(socket.request({ type: "ping" }), Lost);
});

test("what was asked when the connection broke is lost, not forgotten", async () => {
  const { socket, sockets } = connection();
  sockets[0].opens();
  const asked = socket.request({ type: "run.cancel", run: "a" });

  sockets[0].drops();

  await assert.rejects(asked, Lost);
});

test("a lost connection comes back by itself", () => {
  const { sockets, states } = connection();
  sockets[0].opens();
  sockets[0].drops();
  assert.equal(states.at(-1), "waiting");

  mock.timers.tick(1_000);
  sockets[1].opens();

  assert.deepEqual(states, ["connecting", "open", "waiting", "connecting", "open"]);
});

test("ended credentials end the connection for good", () => {
  const { socket, sockets, states } = connection();
  sockets[0].opens();

  sockets[0].drops(4401);
  mock.timers.tick(600_000);
  socket.hurry();
  socket.connect();

  assert.equal(states.at(-1), "signed_out");
  assert.equal(sockets.length, 1);
});

test("a door that stays shut is asked for the reason", async () => {
  const { sockets, states } = connection({ admission: async () => "signed_out" });

  sockets[0].drops();
  mock.timers.tick(1_000);
  sockets[1].drops();
  await settled();
  mock.timers.tick(600_000);

  assert.equal(states.at(-1), "signed_out");
  assert.equal(sockets.length, 2);
});

test("a connection that does not answer a ping is given up", async () => {
  const { sockets, states } = connection();
  sockets[0].opens();

  mock.timers.tick(25_000);
  assert.equal(sockets[0].sent.at(-1).type, "ping");
  mock.timers.tick(10_000);
  await settled();

  assert.equal(sockets[0].closed, true);
  assert.equal(states.at(-1), "waiting");
});

test("a connection that answers its pings stays", async () => {
  const { sockets, states } = connection();
  sockets[0].opens();

  for (let round = 1; round <= 5; round += 1) {
    mock.timers.tick(25_000);
    assert.equal(sockets[0].sent.length, round);
    sockets[0].says({ type: "command.done", ref: sockets[0].sent.at(-1).ref, result: {} });
    await settled();
  }

  assert.equal(states.at(-1), "open");
});

test("an old connection that ends late changes nothing", () => {
  const { sockets, states } = connection();
  sockets[0].opens();
  sockets[0].drops();
  mock.timers.tick(1_000);
  sockets[1].opens();

  sockets[0].drops(4401);

  assert.equal(states.at(-1), "open");
});

test("somebody who looks again does not wait", () => {
  const { socket, sockets } = connection();
  sockets[0].opens();
  sockets[0].drops();

  socket.hurry();

  assert.equal(sockets.length, 2);
});

test("whoever was too loud waits in any case", () => {
  const { socket, sockets } = connection();
  sockets[0].opens();
  sockets[0].drops(4429);

  socket.hurry();
  mock.timers.tick(9_999);
  assert.equal(sockets.length, 1);
  mock.timers.tick(2_001);

  assert.equal(sockets.length, 2);
});

test("waiting grows with the tries, and never beyond half a minute", () => {
  const waits = [0, 1, 2, 3, 10].map((tries) => delay(1006, tries, () => 1));

  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 30_000]);
});

test("a thousand pages do not come back at once after a restart", () => {
  const waits = Array.from({ length: 1_000 }, () => delay(1012, 0));
  const inOneTenth = waits.filter((wait) => wait < 300).length;

  assert.ok(Math.max(...waits) <= 3_000);
  assert.ok(inOneTenth < 200, `${inOneTenth} of 1000 in the first tenth`);
});
