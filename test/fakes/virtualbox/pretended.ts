import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Engine } from './engine.js'
import { changeParent, mergeIntoParent } from './images.js'
import type { Rule } from './model.js'

/** Tells whether a port of the host is free for a rule. */
async function isFree({ hostAddress, hostPort }: Rule): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(hostPort, hostAddress === '' ? '0.0.0.0' : hostAddress, () =>
      server.close(() => resolve(true)),
    )
  })
}

/**
 * An engine without guests: machines have states but no processes. A file `ended` or `killed` in the run's folder marks
 * the end of the run.
 */
export const pretended: Engine = {
  async launch({ machine, folder, stateFile }) {
    if (stateFile !== undefined && !existsSync(stateFile)) throw new Error(`${stateFile} is gone`)
    mkdirSync(folder, { recursive: true })
    const refused: Rule[] = []
    for (const { attachment, rules } of machine.hardware.nics) {
      if (attachment !== 'nat') continue
      for (const rule of rules) if (!(await isFree(rule))) refused.push(rule)
    }
    return refused
  },
  end: (folder) => {
    if (existsSync(join(folder, 'ended'))) return 'poweroff'
    return existsSync(join(folder, 'killed')) ? 'aborted' : undefined
  },
  pause: async () => {},
  resume: async () => {},
  reset: async () => {},
  pressPowerButton: async () => {},
  quit: async () => {},
  saveMemory: async (_, file) => writeFileSync(file, 'memory'),
  forward: async (_, __, rule) => await isFree(rule),
  stopForwarding: async () => {},
  switchDisk: async () => {},
  mergeIntoParent: async (_, __, medium) => mergeIntoParent(medium),
  mergeIntoChild: async (_, medium, grandparent) => changeParent(medium, grandparent),
}
