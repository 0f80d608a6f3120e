// @ts-check
// The votes below an answer.

import { clone, part, setText } from "../elements.js";

/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("../protocol.js").Message} Message */

/** Shows the votes on an answer. @param {HTMLElement} article @param {Message} message @param {RoomState} state */
export function setVotes(article, message, state) {
  const foot = article.querySelector("[data-foot]");
  if (!foot) return;
  if (!foot.querySelector("[data-votes]")) foot.append(clone("votes"));
  const votes = part(foot, "[data-votes]");
  const { up = 0, down = 0 } = message.votes ?? {};
  votes.toggleAttribute("data-voted", up + down > 0);
  setText(votes, "[data-up]", up ? String(up) : "");
  setText(votes, "[data-down]", down ? String(down) : "");
  for (const button of votes.querySelectorAll(/** @type {"button"} */ ("[data-vote]"))) {
    const isOwn = Number(button.dataset.vote) === state.ownVotes.get(message.id);
    button.setAttribute("aria-pressed", String(isOwn));
    button.disabled = !state.mayReact(message);
  }
}
