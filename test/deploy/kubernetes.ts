/** The manifests of deploy/kubernetes, one by one and as kustomize puts them together. */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, parseAllDocuments } from 'yaml';

const manifests = fileURLToPath(new URL('../../deploy/kubernetes/', import.meta.url));

/** Whatever a kind has in it; the tests compare it with what it should be. */
export interface Tree {
  readonly [key: string]: Tree;
}

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly annotations?: Record<string, string> };
  readonly spec: Tree;
}

function documentsOf(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}

interface Kustomization {
  readonly resources: readonly string[];
  readonly patches?: readonly ({ readonly path: string } | { readonly patch: string })[];
  readonly configMapGenerator?: readonly { readonly name: string; readonly files: readonly string[] }[];
}

export function kustomizationOf(folder: string): Kustomization {
  return parse(readFileSync(join(manifests, folder, 'kustomization.yaml'), 'utf8')) as Kustomization;
}

/** The documents of the base as they stand in its files. */
export function base(): Manifest[] {
  return kustomizationOf('base').resources.flatMap((file) =>
    documentsOf(readFileSync(join(manifests, 'base', file), 'utf8')),
  );
}

/** The patches of an overlay. */
export function patchesOf(folder: string): Manifest[] {
  return (kustomizationOf(folder).patches ?? []).flatMap((one) =>
    documentsOf('patch' in one ? one.patch : readFileSync(join(manifests, folder, one.path), 'utf8')),
  );
}

/** Whether a patch takes away what it names. */
export function isRemoval(patch: object): boolean {
  return '$patch' in patch && patch.$patch === 'delete';
}

/** What `kubectl apply --kustomize` would send. */
export function built(kubectl: string, folder: string): Manifest[] {
  return documentsOf(execFileSync(kubectl, ['kustomize', join(manifests, folder)], { stdio: 'pipe' }).toString());
}

/** A patch laid over a document: maps by their keys, and lists of what has a name by that. */
export function merged<T>(document: T, patch: unknown): T {
  if (isNamed(document) && isNamed(patch)) {
    const known = patch.filter(({ name }) => document.some((one) => one.name === name));
    const laid = document.map((one) =>
      known.reduce((all, two) => (two.name === all.name ? merged(all, two) : all), one),
    );
    return [...laid, ...patch.filter((one) => !known.includes(one))] as T;
  }
  if (!isMap(document) || !isMap(patch)) return patch as T;
  const keys = new Set([...Object.keys(document), ...Object.keys(patch)]);
  return Object.fromEntries(
    [...keys].map((key) => [key, key in patch ? merged(document[key], patch[key]) : document[key]]),
  ) as T;
}

function isNamed(value: unknown): value is readonly { readonly name: unknown }[] {
  return Array.isArray(value) && value.every((one) => isMap(one) && 'name' in one);
}

export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
