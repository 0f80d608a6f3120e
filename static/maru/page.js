// @ts-check
// The entry module of every page.

import { startDialogs } from "./dialog.js";
import { startForms } from "./form.js";
import { startJumpDialog } from "./jump_dialog.js";
import { startMenus } from "./menu.js";
import { startProfileCards } from "../rooms/profile_card.js";
import { startSidebar } from "./sidebar.js";
import { startPeople } from "./sidebar_people.js";
import { showCurrentRow } from "./sidebar_sections.js";
import { startThemeMenu } from "./theme_menu.js";
import { startLocalTimes } from "./local_times.js";

startThemeMenu();
startLocalTimes();
startMenus();
// Before the forms: a confirmation dialog must be able to prevent the busy state of a button.
startDialogs();
startForms();
startSidebar();
startPeople();
startJumpDialog();
startProfileCards();
showCurrentRow();
