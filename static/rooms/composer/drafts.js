// @ts-check
// What somebody has begun to write, kept by this browser for each room.

/** @param {string} me @param {string} room @returns {{read: () => string, keep: (text: string) => void}} */
export function draftOf(me, room) {
  const key = `maru.draft.${me}.${room}`;
  return {
    read() {
      try {
        return localStorage.getItem(key) ?? "";
      } catch {
        return ""; // storage is forbidden here: a draft lasts as long as the page
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
