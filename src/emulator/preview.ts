/** The preview dialect at the edge of an emulator that is GA inside. Written on its own, to test translators against. */
import type { Json, JsonObject } from '../protocol/event.js';
import { isObject } from './schema.js';
import { objectAt } from './settings.js';

const serverNames: Readonly<Record<string, string>> = {
  'conversation.item.added': 'conversation.item.created',
  'response.output_text.delta': 'response.text.delta',
  'response.output_text.done': 'response.text.done',
  'response.output_audio.delta': 'response.audio.delta',
  'response.output_audio.done': 'response.audio.done',
  'response.output_audio_transcript.delta': 'response.audio_transcript.delta',
  'response.output_audio_transcript.done': 'response.audio_transcript.done',
};
const formats = [
  ['pcm16', 'audio/pcm'],
  ['g711_ulaw', 'audio/pcmu'],
  ['g711_alaw', 'audio/pcma'],
] as const;
/** Where a GA field stands in preview, for `param` of errors. */
const params: Readonly<Record<string, string>> = {
  'session.audio.output.voice': 'session.voice',
  'session.audio.output.speed': 'session.speed',
};

/** The preview-only state of one connection. */
export class PreviewEdge {
  #temperature: Json = 0.8;
  #previousTemperature: Json = 0.8;
  #comingTemperature: Json | null = null;
  #responseTemperatures = new Map<string, Json>();

  /** A validated preview client event in GA. */
  inbound(event: JsonObject): JsonObject {
    this.#previousTemperature = this.#temperature;
    const session = objectAt(event, 'session');
    switch (event.type) {
      case 'session.update':
        this.#temperature = session.temperature ?? this.#temperature;
        return { ...event, session: sessionIn(session) };
      case 'transcription_session.update': {
        const { type: _type, ...input } = sessionIn(session);
        const audio = { input: objectAt(objectAt(input, 'audio'), 'input') };
        return {
          ...event,
          type: 'session.update',
          session: { type: 'transcription', ...pick(input, 'include'), audio },
        };
      }
      case 'conversation.item.create':
        return { ...event, item: itemIn(event.item as JsonObject) };
      case 'response.create': {
        const response = objectAt(event, 'response');
        this.#comingTemperature = response.temperature ?? null;
        return { ...event, response: responseIn(response) };
      }
      default:
        return event;
    }
  }

  /** The event was refused: nothing of it holds. */
  undo(): void {
    this.#temperature = this.#previousTemperature;
    this.#comingTemperature = null;
  }

  /** A GA server event in preview, or null when preview has none like it. */
  outbound(event: JsonObject): JsonObject | null {
    const type = String(event.type);
    if (type === 'conversation.item.done' || type === 'input_audio_buffer.timeout_triggered') return null;
    if (type.includes('mcp_') || (isObject(event.item) && isRemote(event.item))) return null;
    if (type === 'session.created' || type === 'session.updated') return this.#sessionEvent(event);
    if (type === 'response.created' || type === 'response.done') {
      return { ...event, response: this.#response(event.response as JsonObject) };
    }
    if (type === 'error') {
      const error = event.error as JsonObject;
      const param = typeof error.param === 'string' ? (params[error.param] ?? error.param) : error.param;
      return { ...event, error: { ...error, param } };
    }
    const name = serverNames[type] ?? type;
    return isObject(event.item) ? { ...event, type: name, item: itemOut(event.item) } : { ...event, type: name };
  }

  #sessionEvent(event: JsonObject): JsonObject {
    const session = event.session as JsonObject;
    const name = session.type === 'transcription' ? `transcription_${String(event.type)}` : event.type;
    return { ...event, type: name, session: sessionOut(session, this.#temperature) };
  }

  #response(response: JsonObject): JsonObject {
    const { output_modalities, audio, ...rest } = response;
    const id = String(response.id);
    if (response.status === 'in_progress') {
      this.#responseTemperatures.set(id, this.#comingTemperature ?? this.#temperature);
      this.#comingTemperature = null;
    }
    const temperature = this.#responseTemperatures.get(id) ?? this.#temperature;
    if (response.status !== 'in_progress') this.#responseTemperatures.delete(id);
    const spoken = objectAt(audio as JsonObject, 'output');
    return {
      ...rest,
      output: (rest.output as JsonObject[]).filter((item) => !isRemote(item)).map(itemOut),
      usage: usageOut(rest.usage),
      modalities: modalitiesOut(output_modalities),
      voice: voiceOut(spoken.voice),
      output_audio_format: formatOut(spoken.format),
      temperature,
    };
  }
}

function sessionIn(session: JsonObject): JsonObject {
  const input: JsonObject = {
    ...(session.input_audio_format === undefined ? {} : { format: formatIn(session.input_audio_format) }),
    ...renamed(session, 'input_audio_transcription', 'transcription'),
    ...renamed(session, 'input_audio_noise_reduction', 'noise_reduction'),
    ...(session.turn_detection === undefined ? {} : { turn_detection: turnDetectionIn(session.turn_detection) }),
  };
  const output: JsonObject = {
    ...(session.output_audio_format === undefined ? {} : { format: formatIn(session.output_audio_format) }),
    ...pick(session, 'voice', 'speed'),
  };
  return {
    type: 'realtime',
    ...pick(session, 'model', 'instructions', 'tools', 'tracing', 'prompt', 'include', 'truncation'),
    ...toolChoiceIn(session),
    ...modalitiesIn(session),
    ...renamed(session, 'max_response_output_tokens', 'max_output_tokens'),
    audio: { input, output },
  };
}

function responseIn(response: JsonObject): JsonObject {
  const output: JsonObject = {
    ...(response.output_audio_format === undefined ? {} : { format: formatIn(response.output_audio_format) }),
    ...pick(response, 'voice'),
  };
  return {
    ...pick(response, 'conversation', 'instructions', 'tools', 'metadata', 'max_output_tokens'),
    ...toolChoiceIn(response),
    ...modalitiesIn(response),
    ...renamed(response, 'max_response_output_tokens', 'max_output_tokens'),
    ...(Array.isArray(response.input) ? { input: (response.input as JsonObject[]).map(itemIn) } : {}),
    audio: { output },
  };
}

function itemIn(item: JsonObject): JsonObject {
  if (!Array.isArray(item.content)) return item;
  const content = (item.content as JsonObject[]).map(({ id: _id, ...part }) => ({
    ...part,
    type: part.type === 'text' ? 'output_text' : (part.type ?? null),
  }));
  return { ...item, content };
}

/** MCP came after preview. */
function isRemote({ type }: JsonObject): boolean {
  return String(type).startsWith('mcp_');
}

function itemOut({ id, ...item }: JsonObject): JsonObject {
  const shown = { id, object: 'realtime.item', ...item };
  if (item.role !== 'assistant' || !Array.isArray(item.content)) return shown;
  const content = (item.content as JsonObject[]).map((part) => ({
    ...part,
    type: String(part.type).replace(/^output_/, ''),
  }));
  return { ...shown, content };
}

function sessionOut(session: JsonObject, temperature: Json): JsonObject {
  const input = objectAt(objectAt(session, 'audio'), 'input');
  const output = objectAt(objectAt(session, 'audio'), 'output');
  const heard = {
    input_audio_format: formatOut(input.format),
    input_audio_transcription: isObject(input.transcription)
      ? pick(input.transcription, 'model', 'language', 'prompt')
      : null,
    input_audio_noise_reduction: input.noise_reduction ?? null,
    turn_detection: turnDetectionOut(input.turn_detection),
  };
  const ids = pick(session, 'id', 'object', 'expires_at');
  if (session.type === 'transcription') return { ...ids, include: session.include, ...heard, client_secret: null };
  return {
    ...ids,
    ...pick(session, 'model', 'instructions', 'tools', 'tool_choice', 'tracing', 'prompt'),
    modalities: modalitiesOut(session.output_modalities),
    max_response_output_tokens: session.max_output_tokens,
    include: session.include,
    ...heard,
    output_audio_format: formatOut(output.format),
    voice: voiceOut(output.voice),
    speed: output.speed,
    temperature,
    client_secret: null,
  };
}

function usageOut(usage: Json | undefined): Json {
  if (!isObject(usage)) return null;
  const { image_tokens: _images, ...input } = objectAt(usage, 'input_token_details');
  const { image_tokens: _cached, ...cached } = objectAt(input, 'cached_tokens_details');
  return { ...usage, input_token_details: { ...input, cached_tokens_details: cached } };
}

function modalitiesIn(source: JsonObject): JsonObject {
  if (!Array.isArray(source.modalities)) return {};
  return { output_modalities: [source.modalities.includes('audio') ? 'audio' : 'text'] };
}

function modalitiesOut(value: Json | undefined): Json {
  return Array.isArray(value) && value[0] === 'audio' ? ['text', 'audio'] : ['text'];
}

function toolChoiceIn({ tool_choice }: JsonObject): JsonObject {
  if (tool_choice === undefined) return {};
  if (!isObject(tool_choice)) return { tool_choice };
  const name = tool_choice.name ?? objectAt(tool_choice, 'function').name;
  return { tool_choice: { type: 'function', name } };
}

function turnDetectionIn(value: Json | undefined): Json {
  if (!isObject(value) || value.type === 'none') return null;
  return { type: 'server_vad', ...value };
}

function turnDetectionOut(value: Json | undefined): Json {
  if (!isObject(value)) return null;
  const { idle_timeout_ms: _idle, ...rest } = value;
  return rest;
}

function formatIn(value: Json): JsonObject {
  const type = formats.find(([preview]) => preview === value)?.[1] ?? 'audio/pcm';
  return type === 'audio/pcm' ? { type, rate: 24000 } : { type };
}

function formatOut(value: Json | undefined): string {
  return formats.find(([, ga]) => isObject(value) && ga === value.type)?.[0] ?? 'pcm16';
}

function voiceOut(value: Json | undefined): Json {
  return (isObject(value) ? value.id : value) ?? null;
}

function renamed(source: JsonObject, from: string, to: string): JsonObject {
  return source[from] === undefined ? {} : { [to]: source[from] };
}

function pick(source: JsonObject, ...keys: string[]): JsonObject {
  return Object.fromEntries(keys.filter((key) => source[key] !== undefined).map((key) => [key, source[key]]));
}
