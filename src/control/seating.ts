/** What a follower has to do with the takeover of its session, which it may hold for as long as it is there. */

import { z } from 'zod';
import type { User } from '../auth/principal.js';
import { type Fault, takenOver } from '../policy/faults.js';
import type { JsonObject } from '../protocol/event.js';
import type { Takeover } from '../session/takeover.js';

/** The seat of a follower. */
export interface Seating {
  /** Carries out a wish to take over, or to give back; resolves to what is wrong, or to null. Never rejects. */
  carryOut(event: JsonObject): Promise<Fault | null>;
  /** What is told of takeovers as this follower is to hear it: whoever has lost the session is told so. */
  asHeard(body: JsonObject): JsonObject;
  leave(): void;
}

/** What takes over, in the words of who follows, and what is told of it. */
const types = { wish: 'relay.takeover', told: 'relay.taken_over' } as const;

const wish = z.strictObject({
  type: z.literal(types.wish),
  event_id: z.unknown().optional(),
  on: z.boolean(),
  force: z.boolean().optional(),
});

/** Whether somebody who follows wishes to take over, or to give back. */
export function isTakeover({ type }: JsonObject): boolean {
  return type === types.wish;
}

/** How things stand with a session, as they are told. */
export function standingOf({ isOn, holder }: Takeover): JsonObject {
  return { type: types.told, on: isOn, by: isOn ? (holder?.subject ?? null) : null };
}

/** Lets a backend sit down that may steer the session; `tell` is for what nobody else is told. */
export function createSeating(takeover: Takeover, user: User, tell: (body: JsonObject) => void): Seating {
  const seat = takeover.sit(user);
  let isHolder = seat.isHolder;
  return {
    async carryOut(event) {
      const asked = wish.safeParse(event);
      if (!asked.success) return malformed(event, asked.error);
      const { on, force = false } = asked.data;
      const isSo = on ? takeover.isOn && seat.isHolder : !takeover.isOn;
      const taken = on ? await seat.take(force) : takeover.giveBack(user);
      if (taken === 'done' && isSo) tell(standingOf(takeover));
      return taken === 'held' ? { ...takenOver, message: held } : taken === 'late' ? late : null;
    },
    asHeard(body) {
      if (body.type !== types.told) return body;
      const hasLost = isHolder && !seat.isHolder;
      isHolder = seat.isHolder;
      return hasLost ? { ...body, on: false } : body;
    },
    leave: () => seat.leave(),
  };
}

const held = 'Somebody else has taken over this session; "force": true takes it from them.';
const late: Fault = {
  code: 'upstream_timeout',
  message: 'The model did not fall silent in time; the session goes on as before.',
  param: null,
};

function malformed(event: JsonObject, { issues: [issue] }: z.ZodError): Fault {
  const isUnknown = issue?.code === 'unrecognized_keys';
  const param = isUnknown ? (issue.keys[0] ?? null) : issue ? String(issue.path[0]) : null;
  return {
    code: event.on === undefined ? 'missing_required_parameter' : 'invalid_value',
    message: `"${types.wish}" has "on", true or false, and may have "force".`,
    param: param === null ? null : param.slice(0, 100),
  };
}
