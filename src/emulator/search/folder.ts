/** Indexes from a folder: `<index>.index.json`, as Azure takes it, and `<index>.documents.json` beside it. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Json } from '../../protocol/event.js';
import type { SearchService } from './service.js';

const suffix = '.index.json';
const batchSize = 1000;

/** A folder that holds no indexes, or wrong ones; the message says which file, and why. */
export class IndexFolderError extends Error {}

/** Loads all indexes of a folder; returns their names. Rejects with an IndexFolderError. */
export async function loadIndexes(folder: string, service: SearchService): Promise<string[]> {
  const files = (await readdir(folder).catch(named(folder))).filter((file) => file.endsWith(suffix)).sort();
  if (files.length === 0) throw new IndexFolderError(`${folder} has no file that ends in ${suffix}`);
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
    named(file)(error);
  }
}

/** Says of which file or folder it is that something is wrong. */
function named(path: string): (error: unknown) => never {
  return (error) => {
    throw new IndexFolderError(`${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  };
}
