import { basename, resolve } from 'node:path'
import type { Ops } from '../../core/context.js'
import { DeploymentName } from '../../core/names.js'
import { shellQuote } from '../../core/shell-quote.js'
import { type HydraFlags, hydraAnswers } from './hydra-answers.js'
import { hydraTemplate } from './hydra-template.js'
import { refuseExisting, writeNewFile } from './new-file.js'

export interface InitHydra {
  /** File as the user wrote it, relative to `folder`. */
  readonly file: string
  readonly folder: string
  /** State folder as the user wrote it, because the next commands need it, too. */
  readonly state: string | undefined
  readonly flags: HydraFlags
}

export interface Initialised {
  /** Absolute path of the written file. */
  readonly file: string
  /** Name that no deployment has yet. */
  readonly deployment: string
  /** Command lines that deploy the expression, for pasting. */
  readonly next: readonly string[]
}

/** Writes a network expression with a whole Hydra; creates and records nothing yet. */
export async function initHydra(ops: Ops, request: InitHydra): Promise<Initialised> {
  const file = resolve(request.folder, request.file)
  // The check comes first, so that nobody answers questions in vain.
  refuseExisting(file, request.file)
  const answers = await hydraAnswers(ops, request.flags, request.folder)
  const deployment = await freeName(ops, file)
  const state = request.state === undefined ? [] : ['--state', request.state]
  // A name that begins with a dash would look like a flag.
  const shown = request.file.startsWith('-') ? `./${request.file}` : request.file
  const next = [
    ['create', shown, '-d', deployment, ...state],
    ['deploy', '-d', deployment, ...state],
  ].map((argv) => ['hydra-ops', ...argv].map(shellQuote).join(' '))
  await writeNewFile(file, request.file, hydraTemplate(answers, next))
  if (answers.package === undefined && !answers.nixpkgs)
    ops.events.emit({
      kind: 'notice',
      text: `this host has no nixpkgs; set deployment.hydra.package in ${request.file} before the deploy`,
    })
  return { file, deployment, next }
}

async function freeName(ops: Ops, file: string): Promise<string> {
  const wished = basename(file).replace(/\.nix$/, '')
  const base = DeploymentName.safeParse(wished).success && !wished.startsWith('-') ? wished : 'hydra'
  const taken = new Set<string | undefined>((await ops.store.list()).map(({ name }) => name))
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? base : `${base}-${number}`
    if (!taken.has(name)) return name
  }
}
