/** What a profile's conversations cannot keep over their connections, whatever it says. */

import type { Profile } from '../policy/profile.js';

/** Adds what is probably not meant so to `warnings`. */
export function checkContinuity({ name, continuity, session, client }: Profile, warnings: string[]): void {
  const warn = (problem: string) => void warnings.push(`profiles.${name}.continuity: ${problem}.`);
  const transcribes = session.audio?.input?.transcription;
  const mayTranscribe = client.may_update?.includes('audio.input.transcription');
  if (continuity.enabled !== true) return;
  if (session.type === 'transcription')
    warn('a transcription session has no conversation; its upstream connection is not replaced');
  else if (!transcribes && !mayTranscribe) {
    warn(
      'session.audio.input.transcription is not set, so what users say is not known in words, and a conversation that goes on over another connection has little of it',
    );
  }
}
