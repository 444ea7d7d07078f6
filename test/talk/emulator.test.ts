import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { readWav } from '../../src/audio/wav.js';
import { startEmulator } from '../../src/emulator/emulator.js';
import { talk } from '../../src/talk/talk.js';

const speech = fileURLToPath(new URL('../../assets/speech/', import.meta.url));

it('hears the emulator answer the bundled question with bundled speech', async () => {
  const emulator = await startEmulator({ speed: 40 });
  onTestFinished(() => emulator.close());
  const folder = await mkdtemp(join(tmpdir(), 'talk-emulator-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));

  const result = await talk({
    url: `${emulator.url}/openai/v1/realtime?model=gpt-realtime`,
    token: 'any',
    wav: join(speech, 'question-order.wav'),
    out: join(folder, 'answer.wav'),
    speed: 8,
    timeoutSeconds: 10,
    print: () => {},
  });

  expect(result.reason).toBeUndefined();
  const recordings: { text: string; seconds: number }[] = Object.values(
    JSON.parse(await readFile(join(speech, 'speech.json'), 'utf8')),
  );
  const said = recordings.find(({ text }) => text === result.answer);
  expect(result.answerSeconds).toBeCloseTo(said?.seconds ?? 0, 0);
  const saved = readWav(await readFile(result.out ?? ''));
  expect(saved.samples.length / saved.sampleRate).toBe(result.answerSeconds);
  expect(result.firstAudioMs).toBeGreaterThanOrEqual(0);
});
