// @ts-check
// The rooms that are open in this window, and the socket that they share. A room that the reader has left
// stays joined, with its elements, until other rooms have replaced it: it is shown again at once.

import { removeRoom, setPresence, setRoomCounts, setUnreadThreads } from "../../maru/sidebar.js";
import { checkAccess, openSocket, RoomSocket } from "../connection/socket.js";
import { OpenRoom } from "../room.js";
import { Clock, startClock } from "../server_clock.js";

/** @typedef {import("./navigation.js").Screen} Screen */
/** @typedef {import("../protocol.js").Frame} Frame */
/** @typedef {import("../connection/socket.js").ConnectionState} ConnectionState */

const MOST = 5;

export class OpenRooms {
  /** By id; the one shown last is the last. @type {Map<string, OpenRoom>} */
  #rooms = new Map();
  /** @type {WeakMap<HTMLElement, OpenRoom>} */
  #byMain = new WeakMap();
  #started = false;

  /** @param {HTMLElement} shell */
  constructor(shell) {
    this.shell = shell;
    this.clock = new Clock();
    this.count = startClock(document, this.clock);
    this.socket = new RoomSocket({
      open: openSocket,
      onFrame: (frame) => this.#receive(frame),
      onState: (state) => this.#onConnection(state),
      checkAccess,
      isVisible: () => !document.hidden,
    });
  }

  /** Shows the room of a screen, if the screen has one. @param {Screen} screen */
  show(screen) {
    const room = this.#byMain.get(screen.main) ?? this.#open(screen);
    if (!room) return;
    this.#rooms.delete(room.id);
    this.#rooms.set(room.id, room);
    for (const other of [...this.#rooms.values()].slice(0, -MOST)) this.#close(other);
    room.show();
    if (!this.#started) this.#start();
  }

  /** @param {Screen} screen */
  hide(screen) {
    this.#byMain.get(screen.main)?.hide();
  }

  /** @param {Screen} screen @returns {boolean} whether the screen has a room that is still open */
  has(screen) {
    const room = this.#byMain.get(screen.main);
    return room !== undefined && this.#rooms.get(room.id) === room;
  }

  /** Shows whether the user is online in one of the open rooms. @param {string} user */
  showPresence(user) {
    setPresence(user, [...this.#rooms.values()].some(({ state }) => state.online.has(user)));
  }

  /** @param {Screen} screen @returns {OpenRoom | null} */
  #open(screen) {
    if (!screen.main.querySelector("[data-conversation][data-live]")) return null;
    const room = new OpenRoom(screen, this);
    const before = this.#rooms.get(room.id);
    if (before) this.#close(before);
    this.#byMain.set(screen.main, room);
    this.#rooms.set(room.id, room);
    if (this.#started) room.onConnection(this.socket.state);
    return room;
  }

  /** @param {OpenRoom} room */
  #close(room) {
    this.#rooms.delete(room.id);
    room.close();
    this.socket.send({ type: "room.leave", room: room.id });
  }

  #start() {
    this.#started = true;
    addEventListener("offline", () => this.socket.disconnect());
    addEventListener("online", () => this.socket.reconnectOrPing());
    addEventListener("pageshow", () => this.socket.reconnectOrPing());
    document.addEventListener("visibilitychange", () => document.hidden || this.socket.reconnectOrPing());
    this.socket.connect();
  }

  /** @param {Frame} frame */
  #receive(frame) {
    const room = this.#rooms.get(frame.room ?? "");
    if (frame.type === "room.activity") return showActivity(frame);
    if (frame.type === "room.removed") {
      removeRoom(frame.room ?? "");
      if (room) this.#rooms.delete(room.id);
      return room?.leave();
    }
    if (frame.type === "run.started" && frame.run?.started_at) this.clock.addSample(frame.run.started_at);
    room?.receive(frame);
  }

  /** @param {ConnectionState} state */
  #onConnection(state) {
    for (const room of this.#rooms.values()) room.onConnection(state);
  }
}

/** @param {Frame} frame */
function showActivity({ room, unread, mentions, threads = 0 }) {
  if (!room) return;
  setRoomCounts(room, { unread, mentions });
  setUnreadThreads(room, () => threads);
}
