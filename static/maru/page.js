// @ts-check
// What every page does when scripts run.

import { startDialogs } from "./dialog.js";
import { startForms } from "./form.js";
import { startJump } from "./jump_dialog.js";
import { startMenus } from "./menu.js";
import { startSidebar } from "./sidebar.js";
import { startThemes } from "./theme_menu.js";
import { startTimes } from "./local_times.js";

startThemes();
startTimes();
startMenus();
// Before the forms: a question must be able to stop a button from becoming busy.
startDialogs();
startForms();
startSidebar();
startJump();
