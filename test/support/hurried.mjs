/** `realtime-relay serve` whose workers are expected to say something five times as often, so that tests wait a fifth as long. */

import process from 'node:process';
import { serve } from '../../dist/commands/serve.js';

process.exitCode = (await serve(process.env, 200)) ? 0 : 1;
