/** Token counts that add up: what a response read and wrote, and how much of what it read was cached. */
import type { JsonObject } from '../protocol/event.js';
import { bytesPerMs } from './speech.js';
import { type Item, textOf } from './thread.js';

/** Tokens by modality. */
export interface Tokens {
  text: number;
  audio: number;
  image: number;
}

const charactersPerToken = 4;
const audioTokensPerSecondIn = 10;
const audioTokensPerSecondOut = 20;
const tokensPerImage = 170;
/** The service caches whole blocks only. */
const cacheBlock = 64;

/** Tokens of a text of so many characters. */
export function textTokens(characters: number): number {
  return Math.ceil(characters / charactersPerToken);
}

/** Tokens of so much of the user's speech. */
export function audioTokensIn(ms: number): number {
  return Math.ceil((ms / 1000) * audioTokensPerSecondIn);
}

/** What the model wrote: so many characters and so much speech. */
export function tokensOut(characters: number, audioMs: number): Tokens {
  return { text: textTokens(characters), audio: audioTokensOut(audioMs), image: 0 };
}

function audioTokensOut(ms: number): number {
  return Math.ceil((ms / 1000) * audioTokensPerSecondOut);
}

/** What the model reads before it answers. */
export function contextTokens(instructions: string, tools: readonly JsonObject[], items: readonly Item[]): Tokens {
  const total = { text: textTokens(instructions.length), audio: 0, image: 0 };
  if (tools.length > 0) total.text += textTokens(JSON.stringify(tools).length);
  for (const item of items) {
    if (item.heard) total.audio += audioTokensIn(item.heard.bytes.length / bytesPerMs(item.heard.format));
    else total.text += textTokens(textOf(item.shown).length);
    if (item.spoken) total.audio += audioTokensOut(item.spoken.bytes / bytesPerMs(item.spoken.clip.format));
    const parts = Array.isArray(item.shown.content) ? (item.shown.content as JsonObject[]) : [];
    total.image += parts.filter((part) => part.type === 'input_image').length * tokensPerImage;
  }
  return total;
}

/** The `usage` object of a finished response. `before` is what the previous response read, which is what is cached. */
export function usageOf(input: Tokens, output: Tokens, before: Tokens | null): JsonObject {
  const cached = {
    text: cachedOf(input.text, before?.text),
    audio: cachedOf(input.audio, before?.audio),
    image: cachedOf(input.image, before?.image),
  };
  const inputTokens = input.text + input.audio + input.image;
  const outputTokens = output.text + output.audio;
  return {
    total_tokens: inputTokens + outputTokens,
    input_tokens: inputTokens,
    output_tokens: outputTokens,
    input_token_details: {
      text_tokens: input.text,
      audio_tokens: input.audio,
      image_tokens: input.image,
      cached_tokens: cached.text + cached.audio + cached.image,
      cached_tokens_details: { text_tokens: cached.text, audio_tokens: cached.audio, image_tokens: cached.image },
    },
    output_token_details: { text_tokens: output.text, audio_tokens: output.audio },
  };
}

function cachedOf(now: number, before = 0): number {
  return Math.floor(Math.min(now, before) / cacheBlock) * cacheBlock;
}
