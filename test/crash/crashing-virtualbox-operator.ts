/**
 * Runs one verb with the real VirtualBox provider in a separate process. The process prints its points, or kills itself
 * at the n-th point. A command that runs at that point is a separate process and outlives this process.
 * virtualbox.crash.test.ts starts this program.
 */
import { join } from 'node:path'
import { z } from 'zod'
import { localCommands } from '../../src/exec/local-commands.js'
import { crashPoints } from './crash-points.js'
import { operate, verbs } from './machine-operator.js'
import { openOperator, Place, quickCommands } from './virtualbox-operator.js'

const [placeText, verb, nth] = z
  .tuple([z.string(), z.enum(verbs), z.coerce.number()])
  .parse(process.argv.slice(2))
const place = Place.parse(JSON.parse(placeText))
const quick = quickCommands(place)

/** Verbs of VBoxManage that only read. */
const readers: ReadonlySet<string> = new Set(['list', 'showvminfo', 'getextradata', '--version'])

const points = crashPoints({
  nth,
  isOfMachine: (path) =>
    path.startsWith(join(place.folder, 'state', 'deployments')) && /\/(?:disks|console)(?:\/|$)/.test(path),
  change: ([program = '', word = '']) => {
    if (program === place.standIn.program) return readers.has(word) ? undefined : `VBoxManage ${word}`
    return program === 'qemu-img' && word !== 'info' ? `qemu-img ${word}` : undefined
  },
  run: quick.run,
  begin: localCommands.run,
})
const ops = await openOperator(place, verb, {
  onWrite: points.onWrite,
  local: { ...localCommands, run: points.run },
})
points.start()
await operate(ops, verb)
process.stdout.write(JSON.stringify(points.passed))
