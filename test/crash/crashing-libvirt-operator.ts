/**
 * Runs one verb with the real libvirt provider in a separate process, which stops itself at its n-th point.
 * libvirt.crash.test.ts starts this program, which prints its points.
 */
import { join } from 'node:path'
import { z } from 'zod'
import { localCommands } from '../../src/exec/local-commands.js'
import { crashPoints } from './crash-points.js'
import { openOperator, Place } from './libvirt-operator.js'
import { operate, verbs } from './machine-operator.js'

const [placeText, verb, nth] = z
  .tuple([z.string(), z.enum(verbs), z.coerce.number()])
  .parse(process.argv.slice(2))
const place = Place.parse(JSON.parse(placeText))

/** Subcommands that change something; other subcommands are not points. */
const changing: ReadonlyMap<string, RegExp> = new Map([
  ['virsh', /^(?:define|start|destroy|undefine|autostart|blockresize|resume|shutdown|qemu-monitor-command)$/],
  ['qemu-img', /^(?:create|resize)$/],
])

const points = crashPoints({
  nth,
  isOfMachine: (path) => {
    const folders = [place.poolFolder, join(place.folder, 'state', 'deployments')]
    return folders.some((folder) => path.startsWith(folder)) && /\/(?:disks|console|pool)(?:\/|$)/.test(path)
  },
  change: ([program = '', ...args]) => {
    const word = args.find((arg) => changing.get(program)?.test(arg) === true)
    return word === undefined ? undefined : `${program} ${word}`
  },
  run: localCommands.run,
})
const local = { ...localCommands, run: points.run }
const ops = await openOperator(place, verb, { onWrite: points.onWrite, local })
points.start()
await operate(ops, verb)
process.stdout.write(JSON.stringify(points.passed))
