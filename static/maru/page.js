// @ts-check
// The entry module of every page.

import { OpenRooms } from "../rooms/open/open_rooms.js";
import { startDialogs } from "./dialog.js";
import { startFields, startForms } from "./form.js";
import { startRareForms } from "./forms/loading.js";
import { startJumpDialog } from "./jump_dialog.js";
import { startMenus } from "./menu.js";
import { startProfileCards } from "../rooms/profile_card.js";
import { Navigation } from "../rooms/open/navigation.js";
import { startSidebar } from "./sidebar.js";
import { startPeople } from "./sidebar_people.js";
import { showCurrentRow } from "./sidebar_sections.js";
import { startThemeMenu } from "./theme_menu.js";
import { startLocalTimes } from "./local_times.js";
import { keepZone } from "../rooms/dates.js";

keepZone();
startThemeMenu();
startMenus();
// Before the forms: a confirmation dialog must be able to prevent the busy state of a button.
startDialogs();
startForms();
startSidebar();
startPeople();
startJumpDialog();
startProfileCards();
showCurrentRow();
startPart(document);

const shell = document.querySelector(".shell");
if (shell instanceof HTMLElement && shell.querySelector(".sidebar [data-rooms]")) {
  // A page that begins at a message is the room: its address is that of the room.
  const isPart = shell.querySelector("[data-live]") && /[?&](around|on)=/u.test(location.search);
  if (isPart) history.replaceState(null, "", location.pathname + location.hash);
  const rooms = new OpenRooms(shell);
  const navigation = new Navigation(shell, {
    opened: (screen) => startPart(screen.main),
    shown: (screen) => rooms.show(screen),
    hidden: (screen) => rooms.hide(screen),
    keeps: (screen) => rooms.has(screen),
  });
  navigation.start();
}

/** Enables what is inside a part of the page that was added. @param {ParentNode} part */
function startPart(part) {
  startLocalTimes(part);
  startFields(part);
  startRareForms(part);
}
