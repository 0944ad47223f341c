import { failure, type OpsError } from '../src/core/errors.js'
import { fsFailure } from '../src/core/file-failure.js'
import { shellQuote } from '../src/core/shell-quote.js'
import { schemaVersion } from './schema.js'

/** The reason why a file of the state cannot be used. */
export type Unusable =
  | { readonly kind: 'gone' }
  | { readonly kind: 'newer'; readonly version: number }
  | { readonly kind: 'damaged'; readonly how: string }
  | { readonly kind: 'unreadable'; readonly error: unknown }

export interface Damage {
  /** Damaged part of the state: `the state of deployment 'lab' (UUID)`. */
  readonly what: string
  readonly file: string
  /** Path of the last good version of the file, if such a version exists. */
  readonly backup: string | undefined
}

/** Builds the error for the damage, with the exact repair command if a backup exists. */
export function refusal({ what, file, backup }: Damage, why: Unusable): OpsError {
  if (why.kind === 'unreadable') return fsFailure(why.error, `read ${what},`, file)
  if (why.kind === 'newer') {
    return failure(
      'STATE_NEWER',
      `${what} was written by a newer hydra-ops (schema ${why.version}; this version supports schema ${schemaVersion}): ${file}`,
      { hint: 'use the newer version of hydra-ops' },
    )
  }
  const how = why.kind === 'gone' ? 'is missing' : 'is damaged'
  const detail = why.kind === 'damaged' ? ` (${why.how})` : ''
  return failure('STATE_DAMAGED', `${what} ${how}: ${file}${detail}`, {
    hint:
      backup === undefined
        ? 'the file has no good backup; restore a copy of your own (the machines are unchanged)'
        : `restore the backup of the last good state: cp -p ${shellQuote(backup)} ${shellQuote(file)}`,
  })
}
