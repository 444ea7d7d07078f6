/** Whether the model goes by the user's words, or by what a tool has told it since. */

import type { Json } from '../protocol/event.js';

/** Who has spoken last. */
export interface Prompting {
  /** Whether the model has read the output of a tool since the user's last words. */
  readonly isUnprompted: boolean;
  /** The output of a tool has come into the conversation. */
  read(): void;
  /** Upstream takes silence for a turn of the user's, with this item. */
  silent(itemId: Json | undefined): void;
  /** The user's item has come, or is about to; returns whether there can be words in it. */
  spoke(itemId: Json | undefined): boolean;
}

/** Makes it for a conversation in which nobody has said anything. */
export function createPrompting(): Prompting {
  let isUnprompted = false;
  let silence: Json | undefined;
  return {
    get isUnprompted() {
      return isUnprompted;
    },
    read() {
      isUnprompted = true;
    },
    silent(itemId) {
      silence = itemId;
    },
    spoke(itemId) {
      if (itemId !== undefined && itemId === silence) return false;
      isUnprompted = false;
      return true;
    },
  };
}
