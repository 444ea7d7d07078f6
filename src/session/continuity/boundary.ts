/** When nobody notices that a leg is replaced: between turns, with nothing on its way. */

import type { Attachment } from '../attachment.js';
import type { Memory } from './memory.js';

/** How long the words of what was said are waited for. */
const wordsMs = 2000;

export class Boundary {
  readonly #memory: Memory;
  #wordsSince = 0;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  /** Whether words are waited for no longer. */
  areWordsLate(now: number): boolean {
    return this.#wordsSince !== 0 && now - this.#wordsSince > wordsMs;
  }

  /**
   * Whether this is one.
   * @param isFirm whether what is only better is not waited for
   */
  is({ turns, isOwing }: Attachment, isFirm: boolean, now: number): boolean {
    const { journal, microphone, shadow } = this.#memory;
    if (turns.isBusy() || turns.isOwed() || turns.isSpeaking() || turns.isWorking || microphone.speaking !== null) {
      this.#wordsSince = 0;
      return false;
    }
    if (!turns.isUnsettled()) this.#wordsSince = 0;
    else if (this.#wordsSince === 0) this.#wordsSince = now;
    if (journal.pending.length > 0 || (turns.isUnsettled() && !this.areWordsLate(now))) return false;
    return isFirm || (turns.unasked !== 'tool' && !isOwing && shadow.playsUntil <= now);
  }
}
