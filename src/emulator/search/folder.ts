/** Indexes from a folder: `<index>.index.json`, as Azure takes it, and `<index>.documents.json` beside it. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Json } from '../../protocol/event.js';
import type { SearchService } from './service.js';

const suffix = '.index.json';
const batchSize = 1000;

/** Loads all indexes of a folder; returns their names. Rejects with what is wrong, and in which file. */
export async function loadIndexes(folder: string, service: SearchService): Promise<string[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith(suffix)).sort();
  if (files.length === 0) throw new Error(`${folder} has no file that ends in ${suffix}`);
  for (const file of files) {
    const name = file.slice(0, -suffix.length);
    await at(join(folder, file), (definition) => service.put({ name, ...(definition as object) }));
    await at(join(folder, `${name}.documents.json`), (given, bytes) => {
      const documents = Array.isArray(given) ? given : ((given as { value?: Json[] }).value ?? []);
      for (let from = 0; from < documents.length; from += batchSize) {
        const done = service.upload(name, { value: documents.slice(from, from + batchSize) }, from === 0 ? bytes : 0);
        const failed = done.find(({ status }) => status !== true);
        if (failed) throw new Error(`${String(failed.key)}: ${String(failed.errorMessage)}`);
      }
    });
  }
  return files.map((file) => file.slice(0, -suffix.length));
}

async function at(file: string, use: (content: Json, bytes: number) => void): Promise<void> {
  try {
    const text = await readFile(file, 'utf8');
    use(JSON.parse(text) as Json, text.length);
  } catch (error) {
    throw new Error(`${file}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
