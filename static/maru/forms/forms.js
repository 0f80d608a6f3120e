// @ts-check
// The entry of the bundle `forms`: what only the forms of some pages need.

import { startSecrets } from "../../accounts/copy.js";
import { startPasskeys } from "../../accounts/passkeys.js";
import { startConnection } from "../../agents/connection.js";
import { startStudio } from "../../agents/studio.js";
import { startFirstPersona } from "../../rooms/forms/first_persona.js";
import { startFinders } from "./finder.js";

/** Enables the forms in a part of the page. @param {ParentNode} part */
export function startPart(part) {
  startFinders(part);
  startSecrets(part);
  startPasskeys(part);
  startConnection(part);
  startStudio(part);
  startFirstPersona(part);
}
