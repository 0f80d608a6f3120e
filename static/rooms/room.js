// @ts-check
// The entry module of a room's page: creates the modules and connects them.

import { startAnswerButtons } from "./timeline/answer_buttons.js";
import { sentenceFor } from "./announcements.js";
import { Clock, startClock } from "./server_clock.js";
import { Composer } from "./composer/composer.js";
import { startCopyButtons } from "./timeline/copy_buttons.js";
import { draftOf } from "./composer/drafts.js";
import { startEarlierMessages } from "./timeline/earlier_messages.js";
import { startMessageLinks } from "./tools/message_links.js";
import { startMessageMenu } from "./tools/message_menu.js";
import { startMessageTools } from "./timeline/message_tools.js";
import { EmojiPicker } from "./tools/emoji_picker.js";
import { callApi } from "./connection/api.js";
import { startVersions } from "./tools/versions.js";
import { startVotes } from "./tools/votes.js";
import { Outbox } from "./connection/outbox.js";
import { showUnsentMessages, startUnsentMessages } from "./composer/unsent_messages.js";
import { endWelcome, startWelcome } from "./composer/welcome.js";
import { MemberLoader } from "./member_loader.js";
import { Panel, startPanelToggle } from "./panel.js";
import { keepZone } from "./dates.js";
import { part, setText } from "./elements.js";
import { ReadPosition } from "./timeline/read_position.js";
import { StatusLine } from "./composer/status_line.js";
import { RoomState } from "./room_state.js";
import { failureWords, setFailures } from "./failures.js";
import { titleOf, writeWords } from "./room_title.js";
import { isInRoom } from "./threads/open_threads.js";
import { Threads } from "./threads/threads.js";
import { setLookAlikes } from "./namesakes.js";
import { Scroll } from "./timeline/scroll.js";
import { checkAccess, CommandRefused, ConnectionLost, openSocket, RoomSocket } from "./connection/socket.js";
import { RoomSync } from "./connection/room_sync.js";
import { TimelineView } from "./timeline/timeline_view.js";
import { startKeyboardNavigation } from "./timeline/keyboard_navigation.js";
import { removeRoom, setPresence, setRoomCounts, setRoomLine, setUnreadThreads } from "../maru/sidebar.js";
import { gettext } from "../maru/translations.js";

/** @typedef {import("./protocol.js").Command} Command */
/** @typedef {import("./protocol.js").Frame} Frame */
/** @typedef {import("./room_state.js").Change} Change */

const data = JSON.parse(document.getElementById("room-data")?.textContent ?? "{}");
const page = part(document, "[data-conversation]");
const timelineElement = part(page, "[data-timeline]");

setLookAlikes(data.look_alikes);
setFailures(data.failures);
const state = new RoomState(data.state, data.seq, data.me, data.layout);
state.apply({ type: "history.loaded", messages: [], runs: data.ended });

const clock = new Clock();
clock.addSample(data.now, performance.timeOrigin + responseTime());
const count = startClock(document, clock);

const threads = new Threads(
  part(document, ".shell"),
  timelineElement,
  {
    state,
    handle: data.handle,
    attempts: data.attempts,
    count: () => count(),
    apply: (frame) => roomSync.apply(frame),
    join: () => void roomSync.join(),
    request: (command) => socket.request(command),
    send: (command) => socket.send(command),
    outbox: () => outbox,
    showError,
    findMembers: (words) => memberLoader.find(words),
    unusable: data.unusable,
    pickEmoji: (anchor, onPick) => void emojiPicker.open(anchor, onPick),
  },
  data.unread,
);
const view = new TimelineView(timelineElement, state, {
  handle: data.handle,
  attempts: data.attempts,
  count,
  keepPlace: (change) => scroll.keep(change),
  hint: (article, message) => threads.hint(article, message),
});
const memberLoader = new MemberLoader(state, (members) => {
  roomSync.apply({ type: "members.loaded", members });
  composer.picker.refresh();
});
const panel = new Panel(part(document, "#panel"), state, data.roles, memberLoader);
const statusLine = new StatusLine(part(page, "[data-line]"), page, nameOf);
const scroll = new Scroll(part(page, "[data-scroll]"), part(page, "[data-newer]"), () => readPosition.schedule());
const readPosition = new ReadPosition({ seen: seqInView, send: sendRead, sent: 0 });

const socket = new RoomSocket({
  open: openSocket,
  onFrame: (frame) => receive(frame),
  onState: (connection) => onConnection(connection),
  checkAccess,
  isVisible: () => !document.hidden,
});
const roomSync = new RoomSync(state, {
  request: (command) => socket.request(command),
  show,
  refused: onJoinRefused,
});
const outbox = new Outbox({
  key: `maru.outbox.${data.me}.${state.room.id}`,
  storage: localStorageOrNone(),
  send: ({ client_id, text, personas, reply_to = null, also_in_room }) =>
    socket.request({
      type: "message.send",
      room: state.room.id,
      client_id,
      text,
      reply_to,
      personas,
      mentions_first: true,
      ...(reply_to ? { also_in_room } : {}),
    }),
  show(entries) {
    const inRoom = entries.filter(({ reply_to }) => !reply_to);
    scroll.keep(() => showUnsentMessages(part(page, "[data-outgoing]"), inRoom));
    threads.showUnsent(entries);
  },
});
const composer = new Composer(/** @type {HTMLFormElement} */ (part(page, "[data-composer]")), state, {
  send(text, personas) {
    endWelcome(page);
    outbox.add(text, personas);
    readPosition.release();
    scroll.toEnd();
  },
  editLast: () => tools.editLast(),
  pickEmoji: (anchor, onPick) => void emojiPicker.open(anchor, onPick),
  typing: () => socket.send({ type: "member.type", room: state.room.id }),
  findMembers: (words) => memberLoader.find(words),
  unusable: data.unusable,
  draft: draftOf(data.me, state.room.id),
});

/** @param {Frame} frame */
function receive(frame) {
  if (frame.type === "room.activity") return showActivity(frame);
  if (frame.type === "room.removed") return showRemoved(frame);
  if (frame.type === "run.started" && frame.run?.started_at) clock.addSample(frame.run.started_at);
  roomSync.receive(frame);
}

/** @param {Change[]} changes @param {Frame} frame */
function show(changes, frame) {
  // New text of answers changes the page in the next animation frame.
  if (changes.every(({ what }) => what === "text")) view.show(changes, frame);
  else scroll.keep(() => view.show(changes, frame), addedByOthers(frame));
  threads.show(changes, frame);
  const seen = new Set(changes.map(({ what }) => what));
  if (seen.has("everything")) showFullState();
  if (seen.has("room")) showRoom();
  // Both: a new name may be like that of a person and of a persona, and then their handles are shown.
  if (seen.has("people") || seen.has("personas")) {
    panel.showPeople();
    showPersonas();
    if (state.room.direct) showRoom();
  }
  if (seen.has("pins")) panel.showPins();
  if (seen.has("everything") || seen.has("message")) void votes.load();
  if (seen.has("run")) showRuns(frame);
  if (seen.has("rights")) void roomSync.join({ fullState: true });
  for (const change of changes) {
    if (change.what === "typing" && change.user !== state.me) statusLine.typing(change.user);
    if (change.what === "presence") setPresence(change.user, state.online.has(change.user));
  }
  if (frame.type === "message.created") onMessage(frame);
  if (frame.type === "message.updated" || frame.type === "message.deleted") showLastMessage();
  if (frame.type !== "room.snapshot" && threads.shows(frame)) announce(sentenceFor(frame, state));
}

function showFullState() {
  showRoom();
  showPersonas();
  panel.showPeople();
  panel.showPins();
  const mayPost = state.permissions.has("post");
  part(page, "[data-writing]").hidden = !mayPost;
  part(page, "[data-reading]").hidden = mayPost || state.room.archived;
  part(page, "[data-archived]").hidden = !state.room.archived;
}

function showRoom() {
  const { topic } = state.room;
  const name = titleOf(state);
  setText(document, "[data-room-name]", name);
  setText(document, "[data-room-topic]", topic);
  part(document, "[data-room-topic]").hidden = !topic;
  document.title = `${name} · Maru`;
  composer.rename(writeWords(state));
  composer.answers.show();
  panel.showPersonas();
}

function showPersonas() {
  panel.showPersonas();
  composer.answers.list();
  count();
}

/** @param {Frame} frame */
function showRuns(frame) {
  panel.showWork();
  if (frame.type === "run.completed") panel.count(frame.run);
  const { replaces, answer, error } = frame.run ?? {};
  if (frame.type === "run.failed" && replaces && !answer) statusLine.notice(failureWords(error));
  count();
}

/** @param {Frame} frame */
function onMessage({ message }) {
  if (message.author.kind !== "user") return;
  if (message.author.id === state.me) outbox.arrived(message.text, Boolean(message.thread));
  if (!isInRoom(message)) return;
  statusLine.stopped(message.author.id);
  setRoomLine(state.room.id, `${message.author.name}: ${message.text.slice(0, 120)}`);
  if (message.author.id !== state.me && document.hidden && scroll.atEnd) view.markUnread(message.id);
}

/** Shows the current last message in the sidebar after an edit or a deletion. */
function showLastMessage() {
  const last = state.lastMessage;
  setRoomLine(state.room.id, last ? `${last.author.name}: ${last.text.slice(0, 120)}` : "");
}

/** @param {Frame} frame @returns {number} */
function addedByOthers({ type, message }) {
  const isNew = type === "message.created" && !message.replaces;
  return isNew && isInRoom(message) && message.author.id !== state.me ? 1 : 0;
}

/** @param {Frame} frame */
function showActivity({ room, unread, mentions, threads: count = 0 }) {
  if (!room) return;
  setRoomCounts(room, { unread, mentions });
  setUnreadThreads(room, () => count);
}

/** @param {Frame} frame */
function showRemoved({ room }) {
  if (!room) return;
  removeRoom(room);
  if (room === state.room.id) leave();
}

function leave() {
  threads.close({ push: false });
  timelineElement.replaceChildren();
  part(page, "[data-writing]").hidden = true;
  part(page, "[data-reading]").hidden = true;
  part(page, "[data-spoken]").textContent = ""; // may contain text of a message
  part(document, ".shell").dataset.aside = "none";
  part(document, ".room-head .header-actions").hidden = true;
  statusLine.showEnd("gone");
  announceNow(gettext("You no longer have access to this room."));
}

/** @param {import("./connection/socket.js").ConnectionState} connection */
function onConnection(connection) {
  statusLine.connection(connection);
  setPresence(state.me, connection === "open");
  if (connection === "open") {
    void roomSync.join();
    void outbox.flush();
  } else if (connection === "signed_out") {
    announceNow(gettext("You are signed out. What you wrote is kept in this browser."));
  } else if (connection === "waiting") {
    announce(gettext("Reconnecting. What you write is kept."));
  } else if (connection === "gone") {
    leave();
  }
}

/** @param {unknown} error */
function onJoinRefused(error) {
  if (error instanceof ConnectionLost) return;
  if (!(error instanceof CommandRefused)) throw error;
  if (error.code === "not_found") leave();
  else setTimeout(() => socket.state === "open" && roomSync.join(), (error.retryAfter ?? 3) * 1000);
}

threads.begin(data.thread);
startUnsentMessages(part(page, "[data-outgoing]"), outbox, composer);

/** @param {unknown} error of a failed command */
function showError(error) {
  if (!(error instanceof ConnectionLost) && !(error instanceof CommandRefused)) throw error;
  const lost = gettext("The connection was lost. Try again after it is restored.");
  const sentence = error instanceof CommandRefused ? error.message : lost;
  tell(sentence);
}

/** Shows and announces a sentence. @param {string} sentence */
function tell(sentence) {
  statusLine.notice(sentence);
  announce(sentence);
}

/** Moves the read position before a message. @param {import("./protocol.js").Message} message */
async function markUnread({ id, seq }) {
  readPosition.hold();
  const { unread, mentions } = await callApi("PUT", `/rooms/${state.room.id}/read`, { seq: seq - 1 });
  scroll.keep(() => view.moveUnreadLine(id));
  setRoomCounts(state.room.id, { unread, mentions });
}

/** Announces a sentence through the screen reader. @param {string} sentence */
function announce(sentence) {
  if (sentence) part(page, "[data-spoken]").textContent = sentence;
}

/** Announces a sentence at once; it interrupts the screen reader. @param {string} sentence */
function announceNow(sentence) {
  part(page, "[data-alert]").textContent = sentence;
}

/** @param {string} user @returns {string} */
function nameOf(user) {
  return state.members.get(user)?.name ?? "";
}

/** @returns {number} the seq of the last message in view */
function seqInView() {
  if (scroll.atEnd) return state.seq;
  return Number(scroll.lastSeen(view.articles)?.dataset.seq ?? 0);
}

/** @param {number} seq @returns {boolean} */
function sendRead(seq) {
  if (!socket.send({ type: "room.read", room: state.room.id, seq })) return false;
  if (scroll.atEnd) setRoomCounts(state.room.id, { unread: 0, mentions: 0 });
  return true;
}

/** @returns {number} milliseconds from the start of this page to the server's first byte */
function responseTime() {
  const [entry] = performance.getEntriesByType("navigation");
  return entry instanceof PerformanceNavigationTiming ? entry.responseStart : performance.now();
}

/** @returns {Storage | null} */
function localStorageOrNone() {
  try {
    return localStorage;
  } catch {
    return null; // not permitted: unsent messages are lost with the page
  }
}

startPanelToggle(part(document, ".shell"));
startKeyboardNavigation(timelineElement);
const actions = { request: (/** @type {Command} */ command) => socket.request(command), showError };
startAnswerButtons(timelineElement, view, actions);
const emojiPicker = new EmojiPicker(part(page, "[data-emoji-picker]"), tell);
const tools = startMessageTools(timelineElement, view, {
  ...actions,
  quote: (text) => composer.quote(text),
  pickEmoji: (anchor, onPick) => void emojiPicker.open(anchor, onPick),
});
startMessageLinks(state);
startVersions(timelineElement, view, showError);
const votes = startVotes(view, { apply: (frame) => show(state.apply(frame), frame), showError });
void votes.load();
startMessageMenu(part(page, "[data-message-menu]"), timelineElement, view, { ...actions, tell, markUnread });
startCopyButtons(timelineElement, (article) => view.messageOf(article)?.text ?? "");
startEarlierMessages(timelineElement, ({ articles, data: { state: earlier, ended } }, put) => {
  state.apply({ type: "history.loaded", messages: earlier.messages, runs: ended, members: earlier.members });
  scroll.keep(() => {
    put();
    view.register(articles);
  });
});
startWelcome(page, /** @type {HTMLTextAreaElement} */ (part(page, "#composer-text")));
panel.showToday();
panel.showWork();
count();
keepZone();
const target = location.hash && document.getElementById(location.hash.slice(1));
scroll.begin(target || timelineElement.querySelector("[data-unread]"));
addEventListener("offline", () => socket.disconnect());
addEventListener("online", () => socket.reconnectOrPing());
addEventListener("pageshow", () => socket.reconnectOrPing());
document.addEventListener("visibilitychange", () => document.hidden || socket.reconnectOrPing());
socket.connect();
