/**
 * Translation between the dialects at the two ends of a session. GA is what policy, profiles and tools see; a side that
 * speaks preview gets a pair of steps from here, a side that speaks GA gets none.
 * Source: the GA and preview event references of the Azure OpenAI Realtime API.
 */

export { previewClient } from './translate/client.js';
export { paramToPreview } from './translate/params.js';
export type { TranslationPorts } from './translate/step.js';
export { previewUpstream } from './translate/upstream.js';
