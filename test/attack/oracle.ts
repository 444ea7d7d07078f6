/**
 * What may reach upstream from an end user, written down a second time: from the table of the contract and not from the
 * code that enforces it. A frame that does not fit is a finding.
 */

type Check = (value: unknown) => boolean;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const text: Check = (value) => typeof value === 'string';
const flag: Check = (value) => typeof value === 'boolean';
const matching =
  (pattern: RegExp): Check =>
  (value) =>
    typeof value === 'string' && pattern.test(value);
const oneOf =
  (...values: unknown[]): Check =>
  (value) =>
    values.includes(value);
const number =
  (min: number, max: number): Check =>
  (value) =>
    typeof value === 'number' && value >= min && value <= max;
const whole =
  (min: number, max: number): Check =>
  (value) =>
    Number.isSafeInteger(value) && number(min, max)(value);
const nullOr =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const list =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.length > 0 && value.every(check);
const anyOf =
  (...checks: Check[]): Check =>
  (value) =>
    checks.some((check) => check(value));

/** Exactly these fields: those with a `?` may be missing, and no other may be there. */
function exactly(fields: Record<string, Check>): Check {
  const names = Object.keys(fields).map((name) => name.replace('?', ''));
  return (value) =>
    isObject(value) &&
    Object.keys(value).every((key) => names.includes(key)) &&
    Object.entries(fields).every(([name, check]) => {
      const key = name.replace('?', '');
      return Object.hasOwn(value, key) ? check(value[key]) : name.endsWith('?');
    });
}

const base64 = matching(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/);
/** Ids of the relay's own making carry a number; a client that imitates them is caught by its word. */
const eventId = matching(/^(?:rly_(?:configure|c?\d+)|(?!rly_)[A-Za-z0-9_.:-]{1,512})$/);
const newItemId = matching(/^(?!rly_|root$)[A-Za-z0-9_-]{1,64}$/);
const format = anyOf(
  exactly({ type: oneOf('audio/pcm'), 'rate?': oneOf(24000) }),
  exactly({ type: oneOf('audio/pcmu', 'audio/pcma') }),
);
const answering = { 'create_response?': flag, 'interrupt_response?': flag };
const turnDetection = anyOf(
  exactly({
    type: oneOf('server_vad'),
    'threshold?': number(0, 1),
    'prefix_padding_ms?': whole(0, 10_000),
    'silence_duration_ms?': whole(0, 60_000),
    'idle_timeout_ms?': nullOr(whole(5000, 30_000)),
    ...answering,
  }),
  exactly({ type: oneOf('semantic_vad'), 'eagerness?': oneOf('low', 'medium', 'high', 'auto'), ...answering }),
);
const noiseReduction = exactly({ type: oneOf('near_field', 'far_field'), 'strength?': number(-1e9, 1e9) });
const modalities: Check = (value) => Array.isArray(value) && value.length === 1 && oneOf('audio', 'text')(value[0]);

/** What an end user may update by default. The values are those of the vendor's session object. */
const updatable: Record<string, Record<string, Check>> = {
  input: { format, turn_detection: nullOr(turnDetection), noise_reduction: nullOr(noiseReduction) },
  output: { format, speed: number(0.25, 1.5) },
};

/** What the oracle has to know of a session. */
export interface Sight {
  /** What upstream speaks, `ga` when left out. */
  readonly upstream?: 'ga' | 'preview';
  /** Dotted session fields the profile sets, which a client may not. */
  readonly locked: readonly string[];
  readonly maxOutputTokens: number;
  /** Ids of items the client was shown. */
  readonly seenItems: ReadonlySet<string>;
  /** Ids of items the client made, by an event or by speaking. */
  readonly ownItems: ReadonlySet<string>;
  readonly seenResponses: ReadonlySet<string>;
  /** Calls of client-side tools that the client was shown. */
  readonly calls: ReadonlySet<string>;
}

/** What is wrong with a frame that reached upstream after the configuration, or null. */
export function faultOf(frame: string, sight: Sight): string | null {
  const ambiguity = ambiguityOf(frame);
  if (ambiguity !== null) return ambiguity;
  const body = JSON.parse(frame) as Record<string, unknown>;
  const check = rules(sight)[String(body.type)];
  if (!check) return `the type ${String(body.type).slice(0, 80)} may not go upstream`;
  const { type: _, ...rest } = body;
  return check(rest) ? null : `fields or values that may not go upstream: ${frame.slice(0, 300)}`;
}

/** Whether some parser could read something else in it than `JSON.parse` does. */
function ambiguityOf(frame: string): string | null {
  if (/__proto__|"constructor"|"prototype"/.test(frame)) return `a key of prototypes: ${frame.slice(0, 200)}`;
  // Serialised anew it is the same text: then no key is there twice, none is escaped, and nothing comes before or after.
  if (JSON.stringify(JSON.parse(frame)) === frame) return null;
  const member = String.raw`"(?:type|event_id)"[ \t\r\n]*:[ \t\r\n]*"[A-Za-z0-9_.:-]{1,128}"|"audio"[ \t\r\n]*:[ \t\r\n]*"[A-Za-z0-9+/=]+"`;
  const strict = new RegExp(
    `^[ \\t\\r\\n]*\\{(?:[ \\t\\r\\n]*(?:${member})[ \\t\\r\\n]*(?:,|(?=\\})))+\\}[ \\t\\r\\n]*$`,
  );
  const keys = [...frame.matchAll(/"(type|event_id|audio)"[ \t\r\n]*:/g)].map(([, key]) => key);
  const isAppend = /"type"[ \t\r\n]*:[ \t\r\n]*"input_audio_buffer\.append"/.test(frame);
  if (strict.test(frame) && new Set(keys).size === keys.length && isAppend) return null;
  return `neither serialised anew nor plain audio: ${frame.slice(0, 200)}`;
}

/** What the relay itself answers for a function that nobody listed; its ids, which are one, cannot be guessed. */
const refusedCall: Check = (value) => {
  const { event_id: id } = value as { event_id?: unknown };
  const messages = [
    'This is not allowed. Tell the user that it cannot be done.',
    'Too many lookups at once. Try again with fewer.',
  ];
  return exactly({
    event_id: matching(/^rly_[0-9a-f]{24}$/),
    item: exactly({
      id: oneOf(id),
      type: oneOf('function_call_output'),
      call_id: text,
      output: oneOf(...messages.map((message) => JSON.stringify({ error: 'refused', message }))),
    }),
  })(value);
};

function rules(sight: Sight): Record<string, Check> {
  const free = (group: string) =>
    Object.fromEntries(
      Object.entries(updatable[group] ?? {})
        .filter(([name]) => !sight.locked.includes(`audio.${group}.${name}`))
        .map(([name, check]) => [`${name}?`, check]),
    );
  const session = exactly({
    type: oneOf('realtime'),
    'output_modalities?': modalities,
    'audio?': exactly({ 'input?': exactly(free('input')), 'output?': exactly(free('output')) }),
  });
  const flatFormat = oneOf('pcm16', 'g711_ulaw', 'g711_alaw');
  const flatModalities = list(oneOf('audio', 'text'));
  const flatSession = exactly({
    'modalities?': flatModalities,
    'input_audio_format?': flatFormat,
    'output_audio_format?': flatFormat,
    'turn_detection?': nullOr(turnDetection),
    'speed?': number(0.25, 1.5),
  });
  const isFlat = sight.upstream === 'preview';
  const tokens = whole(1, sight.maxOutputTokens);
  const seen: Check = (id) => typeof id === 'string' && sight.seenItems.has(id);
  const id = { 'event_id?': eventId };
  return {
    'session.update': exactly({ ...id, session: isFlat ? flatSession : session }),
    'input_audio_buffer.append': exactly({ ...id, audio: base64 }),
    'input_audio_buffer.commit': exactly(id),
    'input_audio_buffer.clear': exactly(id),
    'conversation.item.create': anyOf(
      refusedCall,
      exactly({
        ...id,
        'previous_item_id?': anyOf(oneOf('root'), seen),
        item: anyOf(
          exactly({
            'id?': newItemId,
            type: oneOf('message'),
            role: oneOf('user'),
            content: list(
              anyOf(
                exactly({ type: oneOf('input_text'), text }),
                exactly({ type: oneOf('input_audio'), audio: base64 }),
              ),
            ),
          }),
          exactly({
            'id?': newItemId,
            type: oneOf('function_call_output'),
            call_id: (call) => typeof call === 'string' && sight.calls.has(call),
            output: text,
          }),
        ),
      }),
    ),
    'conversation.item.retrieve': exactly({ ...id, item_id: seen }),
    'conversation.item.truncate': exactly({
      ...id,
      item_id: seen,
      content_index: oneOf(0),
      audio_end_ms: whole(0, Number.MAX_SAFE_INTEGER),
    }),
    'conversation.item.delete': exactly({
      ...id,
      item_id: (item) => typeof item === 'string' && sight.ownItems.has(item),
    }),
    'response.create': exactly({
      ...id,
      'response?': exactly({
        ...(isFlat
          ? { 'modalities?': flatModalities, 'max_response_output_tokens?': tokens }
          : { 'output_modalities?': modalities, 'max_output_tokens?': tokens }),
        // The relay's own mark, by which it knows the answer again.
        'metadata?': exactly({ 'rly?': matching(/^\d+$/) }),
      }),
    }),
    'response.cancel': exactly({
      ...id,
      'response_id?': (response) => typeof response === 'string' && sight.seenResponses.has(response),
    }),
  };
}
