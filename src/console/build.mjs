/** Makes the console's files: in memory for a relay that runs from source, or into a folder for `npm run build`. */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const folder = fileURLToPath(new URL('.', import.meta.url));
const plain = ['index.html', 'style.css', 'operator.css', 'icon.svg'];

/** Every file of the console by name. */
export async function buildConsole() {
  const { outputFiles } = await build({
    entryPoints: [
      { in: join(folder, 'app.ts'), out: 'app' },
      { in: join(folder, '../client/microphone-worklet.ts'), out: 'microphone-worklet' },
    ],
    outdir: folder,
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    minifySyntax: true,
    minifyWhitespace: true,
    logLevel: 'error',
  });
  const files = new Map(outputFiles.map(({ path, contents }) => [path.slice(folder.length), Buffer.from(contents)]));
  for (const name of plain) files.set(name, await readFile(join(folder, name)));
  return files;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const target = fileURLToPath(new URL('../../dist/console/', import.meta.url));
  await mkdir(target, { recursive: true });
  for (const [name, content] of await buildConsole()) await writeFile(join(target, name), content);
}
