/** `npm run example:search`: runs the example until a signal ends it. */
import { print } from '../../src/commands/print.js';
import { untilSignal } from '../../src/commands/signals.js';
import { startExample } from './example.js';

const example = await startExample({ print });
print('');
print('Press Ctrl+C to stop.');
await untilSignal();
await example.close();
