import { type FaultName, faultNames } from '../../src/emulator/faults.js';

/** The faults of what only WebRTC calls ask for; see test/webrtc. */
export const ofCalls: readonly FaultName[] = ['mint_transcription', 'offer', 'hangup'];

/** The faults of what only tools meet, those of the search service included; see test/tools and test/emulator. */
export const ofTools: readonly FaultName[] = faultNames.filter(
  (name) => ['busy', 'mcp_list_failed'].includes(name) || name.startsWith('search_'),
);

/** The faults of what only a history that is said again meets; see test/emulator. */
export const ofReplays: readonly FaultName[] = ['refuse_item_id', 'text_after_replay'];
