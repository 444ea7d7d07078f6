/**
 * What happens to an event between the two legs of a session: two lists of steps, in order. GA is the one dialect between
 * a translation at the client's end and one at upstream's; a side that speaks it has none.
 */

import type { Admission } from '../admission/admission.js';
import { clientReader, upstreamReader } from '../legs/read.js';
import type { Leg } from '../legs/websocket.js';
import { createPolicy, type Policy } from '../policy/policy.js';
import type { JsonObject, Refusal, Step } from '../protocol/event.js';
import { previewClient } from '../protocol/translate/client.js';
import { paramToPreview } from '../protocol/translate/params.js';
import { previewUpstream } from '../protocol/translate/upstream.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Dialed } from '../upstream/dial.js';
import type { Activity } from './activity.js';
import { createInterruption } from './interruption.js';
import { createLimits } from './limits.js';
import type { Meter } from './meter.js';
import type { Pipe } from './pipe.js';
import type { Replies } from './replies.js';
import { createSay, type Speak, speakTo } from './speak.js';

/** Everything an event meets on its way. */
export interface Way {
  readonly admission: Admission;
  readonly dialed: Dialed;
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
  /** Upstream's dialect cannot say what was to be sent. */
  unsaid(refusal: Refusal, policy: Policy): void;
  /** What a profile that only reports let pass. */
  reported(detail: string): void;
}

/** What the relay itself can do between the legs. */
export interface Route {
  /** Speaks upstream; policy keeps the answer from the client, unless the event has an id already. */
  readonly say: Speak;
  /** Speaks to the client. */
  readonly tell: Speak;
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
  const { admission, dialed, session, client, upstream, meter, activity, replies, metrics } = way;
  const { profile, dialect, apiVersion, model } = admission;
  const ports = {
    refuse: (refusal: Refusal, race = false) => replies.refuse(refusal, race),
    eventId: () => replies.eventId(),
  };
  const policy = createPolicy(profile, session, model, {
    refuse: ports.refuse,
    eventId: ports.eventId,
    answer: (body) => replies.answer(body),
    reported: way.reported,
    ignored(type, fields, eventId) {
      metrics.traffic.up.event(type, 'trimmed');
      replies.ignored(dialect === 'preview' ? fields.map(paramToPreview) : fields, eventId);
    },
    decided: (direction, type, decision) => metrics.traffic[direction].event(type, decision),
  });
  const asClient = dialect === 'preview' ? previewClient(ports, apiVersion) : null;
  const asUpstream =
    dialed.upstream.dialect === 'preview'
      ? previewUpstream({ ...ports, refuse: (refusal) => way.unsaid(refusal, policy) })
      : null;
  const limits = createLimits(profile.limits, meter.inputRate, ports.refuse);
  const interruption = createInterruption({
    running: meter.turns.running,
    drop: (response) => client.dropSpeech(response),
  });

  const up = steps(
    activity?.step('up'),
    asClient?.fromClient,
    limits.responses,
    policy.up,
    interruption.up,
    meter.up,
    asUpstream?.toUpstream,
  );
  const down = steps(
    activity?.step('down'),
    asUpstream?.fromUpstream,
    interruption.down,
    way.configuring(policy),
    way.ending,
    meter.down,
    policy.down,
    asClient?.toClient,
  );

  const readDown = upstreamReader(dialed.upstream.dialect, metrics);
  const readUp = clientReader(profile, dialect, metrics.slowPath);
  way.up.connect({ from: client, to: upstream, read: readUp, steps: up, limits });
  way.down.connect({ from: upstream, to: client, read: readDown, steps: down });

  return {
    say: createSay(speakTo(upstream, asUpstream?.toUpstream), meter, (body) => policy.injected(body)),
    tell: speakTo(client, asClient?.toClient),
    drain(mayAsk, heard) {
      policy.drain(mayAsk);
      const counted: Step = (event) => {
        if (event.body) queueMicrotask(heard);
        return meter.down(event);
      };
      const draining = down.map((step) => (step === meter.down ? counted : step));
      way.down.connect({ from: upstream, to: client, read: readDown, steps: draining });
    },
    listen(heard) {
      const last: Step = () => {
        heard();
        return null;
      };
      // Speech that nobody hears any more costs what the end of its response says.
      const noSpeech: Step = (event) => (event.raw ? null : event);
      const rest = steps(asUpstream?.fromUpstream, noSpeech, meter.down, last);
      way.down.connect({ from: upstream, to: client, read: readDown, steps: rest });
      upstream.release('full');
    },
  };
}

function steps(...list: readonly (Step | undefined)[]): readonly Step[] {
  return list.filter((step) => step !== undefined);
}
