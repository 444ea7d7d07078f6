/** What happens to an event between the two legs of a session: two lists of steps, in order. */

import type { Admission } from '../admission/admission.js';
import type { Leg } from '../legs/leg.js';
import { Policy } from '../policy/policy.js';
import type { JsonObject, Refusal, Step } from '../protocol/event.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Activity } from './activity.js';
import { createInterruption } from './interruption.js';
import { createLimits } from './limits.js';
import type { Meter } from './meter.js';
import type { Pipe } from './pipe.js';
import type { Replies } from './replies.js';
import { createSay, type Speak } from './speak.js';

/** Everything an event meets on its way. */
export interface Way {
  readonly admission: Admission;
  /** The profile's session, as it was rendered for this user. */
  readonly session: JsonObject;
  readonly client: Leg;
  readonly upstream: Leg;
  readonly up: Pipe;
  readonly down: Pipe;
  readonly meter: Meter;
  readonly activity: Activity | null;
  readonly replies: Replies;
  readonly metrics: Metrics;
  /** Imposes the profile: swallows everything of upstream's until that is done. */
  configuring(policy: Policy): Step;
  /** Sees every event of upstream's before it is counted. */
  readonly ending: Step;
  /** What a profile that only reports let pass. */
  reported(detail: string): void;
}

/** What the relay itself can do between the legs. */
export interface Route {
  /** Speaks upstream; policy keeps the answer from the client, unless the event has an id already. */
  readonly say: Speak;
  /**
   * Lets the client ask for no answer any more, but where `mayAsk`; `heard` is called when an event of upstream, speech
   * itself excepted, has been passed on.
   */
  drain(mayAsk: () => boolean, heard: () => void): void;
  /** From now on what upstream sends is only counted; `heard` is called after each event. */
  listen(heard: () => void): void;
}

/** Connects both pipes; the client's leg is held until the profile has been acknowledged. */
export function connect(way: Way): Route {
  const { admission, session, client, upstream, meter, activity, replies, metrics } = way;
  const { profile, model } = admission;
  const refuse = (refusal: Refusal, race = false) => replies.refuse(refusal, race);
  const policy = new Policy(profile, session, model, {
    refuse,
    eventId: () => replies.eventId(),
    answer: (body) => replies.answer(body),
    reported: way.reported,
    ignored(type, fields, eventId) {
      metrics.traffic.up.event(type, 'trimmed');
      replies.ignored(fields, eventId);
    },
    decided: (direction, type, decision) => metrics.traffic[direction].event(type, decision),
  });
  const limits = createLimits(profile.limits, meter.inputRate, refuse);
  const interruption = createInterruption({
    running: meter.turns.running,
    drop: (response) => client.dropSpeech(response),
  });

  const up = steps(activity?.step('up'), limits.responses, policy.up, interruption.up, meter.up);
  const down = steps(
    activity?.step('down'),
    interruption.down,
    way.configuring(policy),
    way.ending,
    meter.down,
    policy.down,
  );

  way.up.connect({ from: client, to: upstream, steps: up, limits });
  way.down.connect({ from: upstream, to: client, steps: down });

  return {
    say: createSay(upstream, meter, (body) => policy.injected(body)),
    drain(mayAsk, heard) {
      policy.drain(mayAsk);
      const counted: Step = (event) => {
        if (event.body) queueMicrotask(heard);
        return meter.down(event);
      };
      const draining = down.map((step) => (step === meter.down ? counted : step));
      way.down.connect({ from: upstream, to: client, steps: draining });
    },
    listen(heard) {
      const last: Step = () => {
        heard();
        return null;
      };
      // Speech that nobody hears any more costs what the end of its response says.
      const noSpeech: Step = (event) => (event.raw ? null : event);
      const rest = [noSpeech, meter.down, last];
      way.down.connect({ from: upstream, to: client, steps: rest });
      upstream.release('full');
    },
  };
}

function steps(...list: readonly (Step | undefined)[]): readonly Step[] {
  return list.filter((step) => step !== undefined);
}
