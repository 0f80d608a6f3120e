// RoomSocket matches answers to commands, notices dead connections and reconnects.

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { CommandRefused, ConnectionLost, reconnectDelay, RoomSocket } from "../../static/rooms/connection/socket.js";

const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

/** A WebSocket whose `close()` never completes, as without a network. */
class FakeWebSocket extends EventTarget {
  readyState = CONNECTING;
  sent = [];

  send(text) {
    assert.equal(this.readyState, OPEN, "send() was called on a socket that is not open");
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = CLOSING;
  }

  acceptHandshake() {
    this.readyState = OPEN;
    this.dispatchEvent(new Event("open"));
  }

  deliver(frame) {
    this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(frame) }));
  }

  completeClose(code = 1006) {
    this.readyState = CLOSED;
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }
}

function connect({ access = "unknown", isVisible = () => true } = {}) {
  const sockets = [];
  const states = [];
  const frames = [];
  const socket = new RoomSocket({
    open: () => {
      sockets.push(new FakeWebSocket());
      return sockets.at(-1);
    },
    onFrame: (frame) => frames.push(frame),
    onState: (state) => states.push(state),
    checkAccess: async () => access,
    isVisible,
  });
  socket.connect();
  return { socket, sockets, states, frames };
}

function connectOpen(options) {
  const connection = connect(options);
  connection.sockets[0].acceptHandshake();
  return connection;
}

/** Advances in steps of a second, because one `tick` does not run timers that its callbacks set. */
function advance(milliseconds) {
  for (let left = milliseconds; left > 0; left -= 1_000) mock.timers.tick(Math.min(left, 1_000));
}

const microtasks = () => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

test("each answer settles the command with the same ref", async () => {
  const { socket, sockets } = connectOpen();

  const first = socket.request({ type: "run.cancel", run: "a" });
  const second = socket.request({ type: "run.retry", run: "b" });
  const [one, two] = sockets[0].sent;
  sockets[0].deliver({ type: "command.done", ref: two.ref, result: { run: "c" } });
  sockets[0].deliver({ type: "command.refused", ref: one.ref, code: "forbidden", detail: "No." });

  assert.deepEqual(await second, { run: "c" });
  await assert.rejects(first, (error) => error instanceof CommandRefused && error.code === "forbidden");
});

test("every frame reaches onFrame, including answers", () => {
  const { sockets, frames } = connectOpen();

  sockets[0].deliver({ type: "room.snapshot", ref: "1" });
  sockets[0].deliver({ type: "message.delta" });

  assert.deepEqual(frames.map(({ type }) => type), ["room.snapshot", "message.delta"]);
});

test("a compact delta reaches onFrame as the delta of the answer that its connection has named", () => {
  const { sockets, frames } = connectOpen();
  const run = { id: "run", answer: "answer", attempt: 1 };

  sockets[0].deliver({ type: "run.started", room: "room", seq: 1, stream: 2, run });
  sockets[0].deliver({ d: [2, 0, "text"] });
  sockets[0].completeClose();
  advance(1_000);
  sockets[1].acceptHandshake();
  sockets[1].deliver({ d: [2, 1, "of another answer"] });

  const delta = { type: "message.delta", room: "room", message: "answer", run: "run", attempt: 1, seq: 0, text: "text" };
  assert.deepEqual(frames.slice(1), [delta]);
});

test("a command without an open connection rejects at once", async () => {
  const { socket } = connect();

  await assert.rejects(socket.request({ type: "ping" }), ConnectionLost);
});

test("pending commands reject when the connection closes", async () => {
  const { socket, sockets } = connectOpen();
  const pending = socket.request({ type: "run.cancel", run: "a" });

  sockets[0].completeClose();

  await assert.rejects(pending, ConnectionLost);
});

test("a closed connection reconnects", () => {
  const { sockets, states } = connectOpen();
  sockets[0].completeClose();
  assert.equal(states.at(-1), "waiting");

  advance(1_000);
  sockets[1].acceptHandshake();

  assert.deepEqual(states, ["connecting", "open", "waiting", "connecting", "open"]);
});

test("revoked credentials end the connection permanently", () => {
  const { socket, sockets, states } = connectOpen();

  sockets[0].completeClose(4401);
  advance(600_000);
  socket.reconnectOrPing();
  socket.connect();

  assert.equal(states.at(-1), "signed_out");
  assert.equal(sockets.length, 1);
});

test("repeated handshake failures request the reason from the server", async () => {
  const { sockets, states } = connect({ access: "signed_out" });

  sockets[0].completeClose();
  advance(1_000);
  sockets[1].completeClose();
  await microtasks();
  advance(600_000);

  assert.equal(states.at(-1), "signed_out");
  assert.equal(sockets.length, 2);
});

test("a handshake without an answer is abandoned after 20 seconds", () => {
  const { sockets, states } = connect();

  advance(20_000);

  assert.equal(sockets[0].readyState, CLOSING);
  assert.equal(states.at(-1), "waiting");
});

test("a visible page closes a dead connection within 10 seconds", async () => {
  const { socket, sockets, states } = connectOpen();
  const pending = assert.rejects(socket.request({ type: "run.cancel", run: "a" }), ConnectionLost);

  advance(4_000);
  assert.equal(sockets[0].sent.at(-1).type, "ping");
  assert.equal(states.at(-1), "open");
  advance(6_000);

  assert.equal(sockets[0].readyState, CLOSING);
  assert.equal(states.at(-1), "waiting");
  await pending;
});

test("a hidden page pings every 24 seconds and waits 12 seconds, in three checks", () => {
  const { sockets, states } = connectOpen({ isVisible: () => false });

  advance(22_000);
  assert.equal(sockets[0].sent.length, 0);
  advance(2_000);
  assert.equal(sockets[0].sent.length, 1);
  advance(11_000);
  assert.equal(states.at(-1), "open");
  advance(1_000);

  assert.equal(states.at(-1), "waiting");
});

test("a page that becomes visible pings at once", () => {
  let visible = false;
  const { socket, sockets, states } = connectOpen({ isVisible: () => visible });
  advance(10_000);

  visible = true;
  socket.reconnectOrPing();
  assert.equal(sockets[0].sent.at(-1).type, "ping");
  advance(6_000);

  assert.equal(states.at(-1), "waiting");
});

test("a connection that answers pings stays open", () => {
  const { sockets, states } = connectOpen();

  for (let round = 1; round <= 5; round += 1) {
    advance(4_000);
    assert.equal(sockets[0].sent.length, round);
    advance(4_000);
    sockets[0].deliver({ type: "command.done", ref: sockets[0].sent.at(-1).ref, result: {} });
  }

  assert.equal(states.at(-1), "open");
});

test("a connection that receives frames sends no pings", () => {
  const { sockets } = connectOpen();

  for (let second = 0; second < 60; second += 3) {
    advance(3_000);
    sockets[0].deliver({ type: "message.delta" });
  }

  assert.equal(sockets[0].sent.length, 0);
});

test("disconnect does not wait for the close event", () => {
  const { socket, sockets, states } = connectOpen();

  socket.disconnect();
  assert.equal(states.at(-1), "waiting");
  advance(1_000);
  sockets[1].acceptHandshake();

  assert.equal(states.at(-1), "open");
});

test("a socket that stays in CLOSING is replaced within 2 seconds", () => {
  const { sockets, states } = connectOpen();

  sockets[0].close();
  advance(2_000);

  assert.equal(states.at(-1), "waiting");
});

test("a command on a socket in CLOSING rejects without a send", async () => {
  const { socket, sockets, states } = connectOpen();
  sockets[0].close();

  await assert.rejects(socket.request({ type: "run.cancel", run: "a" }), ConnectionLost);

  assert.equal(states.at(-1), "waiting");
});

test("events of a replaced socket are ignored", () => {
  const { sockets, states, frames } = connectOpen();
  sockets[0].completeClose();
  advance(1_000);
  sockets[1].acceptHandshake();

  sockets[0].deliver({ type: "message.delta" });
  sockets[0].completeClose(4401);

  assert.deepEqual(frames, []);
  assert.equal(states.at(-1), "open");
});

test("reconnectOrPing connects without waiting for the delay", () => {
  const { socket, sockets } = connectOpen();
  sockets[0].completeClose();

  socket.reconnectOrPing();

  assert.equal(sockets.length, 2);
});

test("a client closed for flooding keeps its delay", () => {
  const { socket, sockets } = connectOpen();
  sockets[0].completeClose(4429);

  socket.reconnectOrPing();
  advance(9_999);
  assert.equal(sockets.length, 1);
  advance(2_001);

  assert.equal(sockets.length, 2);
});

test("the delay grows with failures up to 30 seconds", () => {
  const delays = [0, 1, 2, 3, 10].map((failures) => reconnectDelay(1006, failures, () => 1));

  assert.deepEqual(delays, [1_000, 2_000, 4_000, 8_000, 30_000]);
});

test("a thousand pages spread their reconnects after a restart", () => {
  const delays = Array.from({ length: 1_000 }, () => reconnectDelay(1012, 0));
  const inFirstTenth = delays.filter((delay) => delay < 300).length;

  assert.ok(Math.max(...delays) <= 3_000);
  assert.ok(inFirstTenth < 200, `${inFirstTenth} of 1000 in the first tenth`);
});
