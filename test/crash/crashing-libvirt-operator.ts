/**
 * Runs one verb with the real libvirt provider in a separate process, which stops itself at its n-th point. SIGKILL
 * stops the process, so nothing runs afterwards. Points are writes of the store and changes of the machine's files. A
 * command that changes something has two points: its begin and its end. libvirt.crash.test.ts starts this program,
 * which prints its points.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { basename, join } from 'node:path'
import { z } from 'zod'
import type { LocalCommands } from '../../src/core/context.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { openOperator, operate, Place, storeWrite, verbs } from './libvirt-operator.js'

const [placeText, verb, nth] = z
  .tuple([z.string(), z.enum(verbs), z.coerce.number()])
  .parse(process.argv.slice(2))
const place = Place.parse(JSON.parse(placeText))

const points: string[] = []
let watching = false
function point(what: string): void {
  if (!watching) return
  points.push(what)
  if (points.length === nth) process.kill(process.pid, 'SIGKILL')
}

/** The subcommands that change something; the others are no points. */
const changing: ReadonlyMap<string, RegExp> = new Map([
  ['virsh', /^(?:define|start|destroy|undefine|autostart|blockresize|resume|shutdown|qemu-monitor-command)$/],
  ['qemu-img', /^(?:create|resize)$/],
])

const local: LocalCommands = {
  ...localCommands,
  run: async (argv, options) => {
    const [program = '', ...args] = argv
    const word = args.find((arg) => changing.get(program)?.test(arg) === true)
    const running = localCommands.run(argv, options)
    if (word === undefined) return running
    point(`${program} ${word} begins`)
    const result = await running
    point(`${program} ${word} ended`)
    return result
  },
}

/** Watches the provider's file changes, which all name the file first; a rename counts under its second name. */
function watchFiles(): void {
  const change = (name: string, args: readonly unknown[]): void => {
    const path = String(args[name.startsWith('rename') ? 1 : 0])
    const reads = name.startsWith('open') && args[1] !== 'wx'
    if (isOfMachine(path) && !reads) point(`${name} ${withoutUuids(basename(path))}`)
  }
  const watched =
    <A extends unknown[], R>(name: string, real: (...args: A) => R) =>
    (...args: A): R => {
      const result = real(...args)
      change(name, args)
      return result
    }
  const watchedLater =
    <A extends unknown[], R>(name: string, real: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      const result = await real(...args)
      change(name, args)
      return result
    }
  Object.assign(fs, {
    mkdirSync: watched('mkdirSync', fs.mkdirSync),
    openSync: watched('openSync', fs.openSync),
    renameSync: watched('renameSync', fs.renameSync),
    rmdirSync: watched('rmdirSync', fs.rmdirSync),
    rmSync: watched('rmSync', fs.rmSync),
    writeFileSync: watched('writeFileSync', fs.writeFileSync),
  })
  // The durable writer is asynchronous.
  Object.assign(fs.promises, {
    mkdir: watchedLater('mkdir', fs.promises.mkdir),
    open: watchedLater('open', fs.promises.open),
    rename: watchedLater('rename', fs.promises.rename),
    rmdir: watchedLater('rmdir', fs.promises.rmdir),
    rm: watchedLater('rm', fs.promises.rm),
    writeFile: watchedLater('writeFile', fs.promises.writeFile),
  })
  syncBuiltinESMExports()
}

function isOfMachine(path: string): boolean {
  const folders = [place.poolFolder, join(place.folder, 'state', 'deployments')]
  return folders.some((folder) => path.startsWith(folder)) && /\/(?:disks|console|pool)(?:\/|$)/.test(path)
}

function withoutUuids(name: string): string {
  return name.replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'UUID').replace(/[0-9a-f]{12}\.tmp$/, 'DRAFT')
}

watchFiles()
const ops = await openOperator(place, verb, { onWrite: () => point(storeWrite), local })
watching = true
await operate(ops, verb)
process.stdout.write(JSON.stringify(points))
