// @ts-check
// Requests to the REST API, for what the socket has no command.

import { CommandRefused, ConnectionLost } from "./socket.js";

/**
 * @param {string} method
 * @param {string} path below /api/v1
 * @param {unknown} [body]
 * @returns {Promise<any>} the body of the response; null if it has none
 * @throws {CommandRefused | ConnectionLost}
 */
export async function callApi(method, path, body) {
  const field = document.querySelector("input[name=csrfmiddlewaretoken]");
  const token = field instanceof HTMLInputElement ? field.value : "";
  const type = body === undefined ? undefined : { "Content-Type": "application/json" };
  const headers = { ...type, "X-CSRFToken": token };
  try {
    const answer = await fetch(`/api/v1${path}`, { method, headers, body: JSON.stringify(body) });
    const found = answer.status === 204 ? null : await answer.json();
    if (!answer.ok) throw new CommandRefused(found);
    return found;
  } catch (error) {
    if (error instanceof CommandRefused) throw error;
    throw new ConnectionLost(); // no response, or not one of the API
  }
}
