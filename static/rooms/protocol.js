// @ts-check
// The types of frames and commands (rooms/protocol/), and of the state that they change. This module has no code.

/** @typedef {{kind: "user" | "persona", id: string | null, name: string, handle: string}} Author */

/** The summary of a thread, in its root.
 * @typedef {{
 *   count: number, last_at: string, authors: {kind: "user" | "persona", id: string | null, name: string}[],
 * }} Replies */

/** @typedef {{
 *   id: string, room: string, seq: number, author: Author, text: string, html: string,
 *   reply_to: string | null, thread?: string | null, also_in_room?: boolean, replies?: Replies | null,
 *   run: string | null,
 *   status: "complete" | "streaming" | "failed" | "cancelled",
 *   reactions: Record<string, string[]>,
 *   created_at: string, edited_at: string | null, deleted: boolean, why?: string, capped?: number,
 *   created_at: string, edited_at: string | null, deleted: boolean,
 *   pinned?: {by: string | null, at: string} | null,
 *   replaces?: string | null, replaced_by?: string | null, answer_version?: number, version?: number | null,
 *   votes?: {up: number, down: number, mine?: number} | null,
 *   steps?: CallStep[], steered?: Steering[], round?: Round,
 * }} Message */

/** Why a call was denied on which no person has decided.
 * @typedef {"changed" | "not_allowed" | "no_decider" | "expired" | "run_ended"} Denial */

/** A tool call as all members see it.
 * @typedef {{
 *   call: string, tool: string, title: string, ms: number | null, result: string | null, shown?: string,
 *   own?: boolean, answers?: number,
 *   state: "proposed" | "asked" | "allowed" | "denied" | "running" | "done" | "failed" | "unknown",
 *   denial?: Denial,
 * }} CallStep */

/** A member's line to a running answer; `after` is the number of steps before it.
 * @typedef {{
 *   id: string, by: string | null, name: string, at: string, text: string,
 *   state: "accepted" | "applied" | "failed", after: number | null,
 * }} Steering */

/** A call that waits for a decision, or the decision.
 * @typedef {{
 *   id: string, run: string, message: string, persona: string, call: string, tool: string, title: string,
 *   own?: boolean, changes: boolean, asked_of: string[], by: string | null, by_name?: string, at?: string,
 *   for_run: boolean, may_for_run: boolean, denial?: Denial,
 *   state: "asked" | "allowed" | "denied" | "expired" | "withdrawn", expires_at: string | null,
 * }} Approval */

/** A question of a persona to people.
 * @typedef {{
 *   id: string, run: string, message: string, persona: string, text: string, choices: string[],
 *   asked_of: string[], state: "open" | "answered" | "expired" | "withdrawn", expires_at: string,
 *   answers: {by: string | null, name: string, text: string, at: string}[],
 * }} Question */

/** Several personas that answer a message in turn.
 * @typedef {{
 *   id: string, message: string, requested_by: string | null,
 *   steps: {persona: string, name: string, run: string | null, state: string, reason?: string}[],
 *   state: "running" | "paused" | "completed" | "cancelled",
 * }} Round */

/** A pinned message; `text` is the start of its text.
 * @typedef {{message: string, author: Author, text: string, pinned: {by: string | null, at: string}}} PinnedMessage */

/** @typedef {{code: string, detail: string, reason?: string, persona?: string}} RunError */

/** `isTakenOver`: its present attempt has begun after the worker of the one before has died.
 * @typedef {{
 *   id: string, persona: string, message: string, answer: string | null, thread?: string | null, attempt: number,
 *   state?: string, requested_by: string | null, stopped_by: string | null,
 *   position: number | null, error: RunError | null,
 *   usage: {input_tokens: number, output_tokens: number, cost?: string | null, currency?: string} | null,
 *   started_at?: string | null, ended_at?: string | null, replaces?: string,
 *   round?: string, asked_by?: string, isTakenOver?: boolean,
 * }} Run */

/** @typedef {{user: string, name: string, handle: string, wood: string, role: string}} Member */

/** @typedef {{
 *   id: string, name: string, handle: string, role: string, goal: string,
 *   pigment: string, lattice: string, enabled: boolean,
 * }} Persona */

/** @typedef {{
 *   id: string, team: string, name: string, topic: string, privacy: string,
 *   answer_policy: "default" | "mention" | "thread" | "off", default_persona: string | null,
 *   answers_in?: "room" | "thread", archived: boolean, direct?: boolean, for_everyone?: boolean,
 *   member_count?: number, persona_turns?: number, muted_personas?: string[],
 *   mode?: "each" | "round" | "led", lead?: string | null, other_decides?: boolean,
 *   summarizes?: boolean,
 * }} Room */

/** @typedef {{
 *   room: Room, members: Member[], members_complete?: boolean, personas: Persona[], permissions: string[],
 *   messages: Message[], messages_complete: boolean, runs: Run[], runs_complete?: boolean, pins?: PinnedMessage[],
 *   approvals?: Approval[], questions?: Question[],
 * }} FullState */

/** @typedef {{
 *   message: string, run: string, attempt: number, from: number, seq: number, text: string, stream?: number,
 * }} LiveAnswer */

/** @typedef {{
 *   type: "room.snapshot", room: string, ref: string, seq: number, from: number,
 *   complete: boolean, events: Frame[] | null, state: FullState | null, live: LiveAnswer[],
 *   online?: string[],
 * }} Snapshot */

/** A tool call of a run.
 * @typedef {{call: string, tool: string, summary: string, ms: number | null, done: boolean}} Step */

/** Any frame that the server sends; its `type` determines the other fields.
 * @typedef {{type: string, room?: string, seq?: number, [field: string]: any}} Frame */

/** @typedef {{type: string, [field: string]: unknown}} Command */

// The state of a room (room_state.js).

/** The text of a streaming answer; `seq` is the seq of its last delta.
 * @typedef {{attempt: number, seq: number, text: string}} LiveText */

/** @typedef {{call: string, tool: string, summary: string, ms: number | null, done: boolean}} Step */

/** A part of the state that the page must render again.
 * @typedef {{what: "everything" | "history" | "later" | "people" | "personas" | "room" | "rights" | "pins"}
 *   | {what: "message" | "text" | "reactions" | "thread" | "steering", message: string}
 *   | {what: "run" | "steps" | "ask", run: string}
 *   | {what: "typing" | "presence", user: string}} Change */

export {};
