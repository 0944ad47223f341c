// @ts-check
import { spawn } from 'node:child_process'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { failure } from 'hydra-ops/provider'
import * as z from 'zod'

/**
 * A provider whose machines are a folder and a process of this host. A real provider would ask a hypervisor where this
 * one reads the folder.
 */

const Config = z.strictObject({ memo: z.string().default('') })
const Allocation = z.object({ sshPort: z.number().int() })
const Handle = z.object({ folder: z.string() })

/** The note in a machine's folder, by which the provider recognises its own machines. */
const Mark = z.object({ deployment: z.string(), machine: z.string() })

/** @typedef {z.infer<typeof Config>} FolderConfig */
/** @typedef {z.infer<typeof Allocation>} FolderAllocation */
/** @typedef {z.infer<typeof Handle>} FolderHandle */
/** @typedef {import('hydra-ops/provider').Provider<FolderConfig, FolderAllocation, FolderHandle>} FolderProvider */
/** @typedef {import('hydra-ops/provider').Resource<FolderConfig, FolderAllocation, FolderHandle>} FolderResource */
/** @typedef {import('hydra-ops/provider').Run} Run */

const startMs = 10_000
const pollMs = 50

/** The process of a machine, which writes its own process id: a crash after the start loses nothing. */
const program = 'echo $$ >"$0/pid.new" && mv "$0/pid.new" "$0/pid" && while :; do sleep 1; done'

/**
 * Creates the provider. `park` is the folder of all machines.
 *
 * @param {{ park: string }} parts
 * @returns {FolderProvider}
 */
export function createFolderProvider({ park }) {
  const folderOf = (/** @type {FolderResource} */ { name }) => join(park, name)

  /** Throws before a change to a folder that is not ours. @param {FolderResource} resource */
  const ours = (resource) => {
    const seen = look(folderOf(resource), resource)
    if (seen.kind !== 'foreign') return seen.kind
    throw failure('FOREIGN', `machine '${resource.machine}': ${seen.what}`, {
      machine: resource.machine,
      hint: `move ${folderOf(resource)} away`,
    })
  }

  return {
    name: 'folder',
    targetEnvs: ['folder'],
    optionKey: 'folder',
    optionsNix: fileURLToPath(new URL('options.nix', import.meta.url)),
    configSchema: Config,
    allocationSchema: Allocation,
    handleSchema: Handle,
    explanations: { FOLDER: ['folder.'] },
    makesMachines: true,

    imageReference: () => undefined,
    imageId: () => undefined,
    allocate: async ({ known, takenPorts, index }) => {
      let sshPort = known?.sshPort ?? 30_000 + index
      while (takenPorts.has(sshPort)) sshPort += 1
      return { sshPort }
    },
    ports: ({ sshPort }) => [sshPort],
    physical: () => ({}),
    publishedUrls: () => [],

    inspect: async (resource) => look(folderOf(resource), resource),
    plan: async (resource) => {
      const folder = folderOf(resource)
      if (ours(resource) === 'absent')
        return [{ action: 'create', detail: `folder ${folder}`, needs: 'nothing' }]
      const memo = readText(join(folder, 'memo.txt'))
      if (memo === resource.config.memo) return []
      return [{ action: 'change', detail: `memo '${memo ?? ''}' → '${resource.config.memo}'`, needs: 'nothing' }]
    },
    reconcile: async (resource, { checkpoint }) => {
      const folder = folderOf(resource)
      if (ours(resource) === 'absent') makeMarked(park, folder, resource)
      await checkpoint({ folder })
      writeFileSync(join(folder, 'memo.txt'), resource.config.memo)
      return { folder }
    },
    start: async (resource, run) => {
      const folder = folderOf(resource)
      const state = ours(resource)
      if (state === 'absent')
        throw failure('FOLDER', `machine '${resource.machine}' does not exist`, {
          machine: resource.machine,
          hint: 'hydra-ops deploy makes it',
        })
      if (state === 'running') return undefined
      rmSync(join(folder, 'pid'), { force: true })
      spawn('sh', ['-c', program, folder], { detached: true, stdio: 'ignore' }).unref()
      if (await within(startMs, () => processOf(folder) !== undefined, run)) return undefined
      throw failure('FOLDER', `machine '${resource.machine}': its process did not begin within ${startMs} ms`)
    },
    stop: async (resource, { graceMs }, run) => {
      const folder = folderOf(resource)
      if (ours(resource) !== 'running') return
      end(folder, 'SIGTERM')
      if (await within(graceMs, () => processOf(folder) === undefined, run)) return
      await kill(folder, resource, run)
    },
    destroy: async (resource, run) => {
      const folder = folderOf(resource)
      if (ours(resource) === 'absent') return
      await kill(folder, resource, run)
      rmSync(folder, { recursive: true, force: true })
    },

    target: async ({ machine, allocation, hostKey, identity, target }) => ({
      machine,
      host: '127.0.0.1',
      port: allocation.sshPort,
      user: 'root',
      hostKey,
      identityFiles: identity === undefined ? [] : [identity.identityFile],
      useAgent: false,
      jump: undefined,
      proxyCommand: undefined,
      sshOptions: target.sshOptions,
      privilegeEscalation: target.privilegeEscalation,
    }),
    resourceId: ({ name }) => name,

    listOwned: async () =>
      (existsSync(park) ? readdirSync(park) : []).flatMap((name) => {
        const mark = markOf(join(park, name))
        return mark === undefined || name.startsWith('.') ? [] : [{ name, ...mark }]
      }),
    doctor: async () => {
      try {
        if (existsSync(park)) accessSync(park, constants.W_OK)
        return [{ id: 'folder.park', level: 'ok', what: `machines are in ${park}` }]
      } catch {
        const what = `you cannot write to the folder ${park}`
        return [{ id: 'folder.park', level: 'problem', what, mend: `sudo chown "$USER" ${park}` }]
      }
    },
  }
}

/**
 * Looks at a machine: its folder, its mark, its process.
 *
 * @param {string} folder
 * @param {FolderResource} resource
 * @returns {import('hydra-ops/provider').Observation}
 */
function look(folder, { name, deployment, machine }) {
  if (!existsSync(folder)) return { kind: 'absent' }
  const mark = markOf(folder)
  if (mark?.deployment !== deployment.uuid || mark.machine !== machine)
    return { kind: 'foreign', what: `the folder of ${name} belongs to somebody else` }
  return { kind: processOf(folder) === undefined ? 'stopped' : 'running' }
}

/**
 * Makes the folder with its mark in one step, so that a crash leaves no folder without a mark.
 *
 * @param {string} park
 * @param {string} folder
 * @param {FolderResource} resource
 */
function makeMarked(park, folder, { name, deployment, machine }) {
  const draft = join(park, `.${name}`)
  mkdirSync(draft, { recursive: true })
  writeFileSync(join(draft, 'machine.json'), JSON.stringify({ deployment: deployment.uuid, machine }))
  renameSync(draft, folder)
}

/** Reads the mark of a folder; undefined = it has none. @param {string} folder */
function markOf(folder) {
  try {
    return Mark.safeParse(JSON.parse(readText(join(folder, 'machine.json')) ?? 'null')).data
  } catch {
    return undefined
  }
}

/** Returns the id of a machine's process; a number that another process has by now does not count. @param {string} folder */
function processOf(folder) {
  const pid = Number(readText(join(folder, 'pid')))
  if (!Number.isSafeInteger(pid) || pid < 2) return undefined
  return readText(`/proc/${pid}/cmdline`)?.split('\0').includes(folder) === true ? pid : undefined
}

/** Sends a signal to the process and its children. @param {string} folder @param {NodeJS.Signals} signal */
function end(folder, signal) {
  const pid = processOf(folder)
  if (pid !== undefined) process.kill(-pid, signal)
}

/** @param {string} folder @param {FolderResource} resource @param {Run} run */
async function kill(folder, { machine }, run) {
  end(folder, 'SIGKILL')
  if (await within(startMs, () => processOf(folder) === undefined, run)) return
  throw failure('FOLDER', `machine '${machine}': its process does not end`, { machine })
}

/**
 * Waits for a condition; false at the deadline. The signal of the run ends the wait.
 *
 * @param {number} ms
 * @param {() => boolean} holds
 * @param {Run} run
 */
async function within(ms, holds, { signal }) {
  for (const deadline = Date.now() + ms; Date.now() < deadline; ) {
    if (holds()) return true
    await pause(pollMs, undefined, { signal })
  }
  return holds()
}

/** Reads a file; undefined = it does not exist. @param {string} file */
function readText(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

const state = process.env.XDG_STATE_HOME ?? join(homedir(), '.local', 'state')
export default createFolderProvider({ park: process.env.HYDRA_OPS_FOLDERS ?? join(state, 'hydra-ops-folders') })
