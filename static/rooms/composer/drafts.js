// @ts-check
// Unsent text, stored in this browser for each room.

/** @param {string} me @param {string} room @returns {{read: () => string, keep: (text: string) => void}} */
export function draftOf(me, room) {
  const key = `maru.draft.${me}.${room}`;
  return {
    read() {
      try {
        return localStorage.getItem(key) ?? "";
      } catch {
        return ""; // storage is not permitted: the draft is lost with the page
      }
    },
    keep(text) {
      try {
        if (text) localStorage.setItem(key, text);
        else localStorage.removeItem(key);
      } catch {
        // As above.
      }
    },
  };
}
