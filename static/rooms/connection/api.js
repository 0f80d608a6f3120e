// @ts-check
// Requests to the REST API, for what the socket has no command.

import { CommandRefused, ConnectionLost } from "./socket.js";

/**
 * @param {string} path
 * @returns {Promise<any>} the body of the response
 * @throws {CommandRefused | ConnectionLost}
 */
export async function post(path) {
  const token = document.querySelector("input[name=csrfmiddlewaretoken]");
  const headers = { "X-CSRFToken": token instanceof HTMLInputElement ? token.value : "" };
  const response = await fetch(path, { method: "POST", headers }).catch(() => null);
  const body = await response?.json().catch(() => null);
  if (!response || !body) throw new ConnectionLost();
  if (!response.ok) throw new CommandRefused(body);
  return body;
}
