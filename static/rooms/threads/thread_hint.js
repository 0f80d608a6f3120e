// @ts-check
// The line below the root of a thread: faces, the number of replies, new ones, and the time of the last reply.

import { clone, part, setMark, setText, speakerOf } from "../elements.js";
import { clockTime } from "../dates.js";
import { fill, ngettext, pgettext } from "../../maru/translations.js";

/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {import("../protocol.js").Replies} Replies */
/** @typedef {import("../room_state.js").RoomState} RoomState */

/**
 * Shows the thread of a message; the line is absent if the message has no replies.
 * @param {HTMLElement} article
 * @param {Message} message
 * @param {RoomState} state
 * @param {{unread: number, href: string}} about
 */
export function setThreadHint(article, { replies }, state, { unread, href }) {
  const place = part(article, ".message-after");
  const known = place.querySelector("[data-thread-hint]");
  if (!replies) {
    if (known?.contains(document.activeElement)) article.focus();
    return known?.remove();
  }
  const hint = known instanceof HTMLElement ? known : clone("thread-hint");
  hint.setAttribute("href", href);
  setFaces(part(hint, "[data-faces]"), replies, state);
  const count = replies.count;
  setText(hint, "[data-replies]", fill(ngettext("%(count)s reply", "%(count)s replies", count), { count }));
  part(hint, "[data-new]").hidden = !unread;
  setText(hint, "[data-new]", fill(pgettext("replies", "%(count)s new"), { count: unread }));
  setLast(part(hint, "[data-last]"), replies.last_at);
  if (!known) place.append(hint);
}

/** @param {HTMLElement} faces @param {Replies} replies @param {RoomState} state */
function setFaces(faces, { authors }, state) {
  const key = authors.map(({ id, name }) => id ?? name).join(" ");
  if (faces.dataset.authors === key) return;
  faces.dataset.authors = key;
  faces.replaceChildren(
    ...authors.map((author) => {
      const speaker = speakerOf(state, { ...author, handle: "" });
      const face = document.createElement("span");
      face.append(clone(`face-${author.kind}`));
      setMark(face, speaker);
      return part(face, ".mark");
    }),
  );
}

/** @param {HTMLElement} time @param {string} at */
function setLast(time, at) {
  time.setAttribute("datetime", at);
  const words = clockTime(new Date(at), document.documentElement.lang);
  if (time.textContent !== words) time.textContent = words;
}
