import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { refusal, unknown } from './answer.js'
import type { Engine, Launch } from './engine.js'
import { straighten } from './images.js'
import type { Rule } from './model.js'
import { idOf, nodeOf, qemuArguments } from './qemu-arguments.js'
import { type Monitor, withMonitor } from './qmp.js'
import { alive, usedMedia } from './store.js'

/** Deadlines for a busy host, within the deadline of a test. */
const startMs = 150_000
const endMs = 150_000

/**
 * A program that runs QEMU, records its exit status, and kills QEMU when the run's folder is removed. A test thus
 * leaves no machine behind. The first argument is the folder, and the others are QEMU's command line.
 */
const keeper = `
cd "$1" || exit
shift
echo $$ >keeper
"$@" >qemu.out 2>&1 &
pid=$!
echo $pid >pid.new && mv pid.new pid
(while kill -0 $pid 2>&-; do [ -e pid ] || kill -9 $pid; sleep 1; done) &
wait $pid
end=$?
[ ! -e pid ] || { echo $end >end.new && mv end.new end; }
`

export const qemu: Engine = {
  async launch(launch) {
    const { folder, machine, stateFile } = launch
    mkdirSync(folder, { recursive: true })
    for (const uuid of usedMedia(machine, [...launch.media.values()])) {
      const medium = launch.media.get(uuid)
      if (medium !== undefined) straighten(medium)
    }
    for (const name of ['pid', 'end', 'keeper', 'qmp.sock']) rmSync(join(folder, name), { force: true })
    const words = ['-c', keeper, 'keeper', folder, 'qemu-system-x86_64', ...qemuArguments(launch)]
    spawn('/bin/sh', words, { detached: true, stdio: 'ignore' }).unref()
    await untilAnswering(launch)
    return await withMonitor(folder, async (monitor) => {
      const refused: Rule[] = []
      for (const [index, { attachment, rules }] of machine.hardware.nics.entries()) {
        if (attachment !== 'nat') continue
        for (const rule of rules) if (!(await forward(monitor, index + 1, rule))) refused.push(rule)
      }
      if (stateFile !== undefined) await monitor.until('query-status', ['paused'], ['internal-error'])
      await monitor.execute('cont')
      return refused
    })
  },

  end(folder) {
    const end = numberIn(join(folder, 'end'))
    if (end !== undefined) return end === 0 ? 'poweroff' : 'aborted'
    const keeperPid = numberIn(join(folder, 'keeper'))
    // The keeper writes the file shortly after QEMU ends, so the run has not ended while the keeper lives.
    return keeperPid === undefined || alive(keeperPid) ? undefined : 'aborted'
  },

  pause: async (folder) => await withMonitor(folder, async (monitor) => void (await monitor.execute('stop'))),
  resume: async (folder) =>
    await withMonitor(folder, async (monitor) => void (await monitor.execute('cont'))),
  reset: async (folder) =>
    await withMonitor(folder, async (monitor) => void (await monitor.execute('system_reset'))),
  pressPowerButton: async (folder) =>
    await withMonitor(folder, async (monitor) => void (await monitor.execute('system_powerdown'))),

  async quit(folder) {
    const pid = numberIn(join(folder, 'pid'))
    if (pid === undefined || !alive(pid)) return
    process.kill(pid, 'SIGKILL')
    const end = Date.now() + endMs
    while (alive(pid)) {
      if (Date.now() > end) throw new Error(`QEMU ${pid} does not end`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  },

  async saveMemory(folder, file) {
    await withMonitor(folder, async (monitor) => {
      await monitor.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 40 })
      await monitor.execute('migrate', { uri: `exec:cat > '${file}'` })
      await monitor.until('query-migrate', ['completed'], ['failed', 'cancelled'])
    })
  },

  forward: async (folder, nic, rule) =>
    await withMonitor(folder, async (monitor) => await forward(monitor, nic, rule)),

  async stopForwarding(folder, nic, { protocol, hostAddress, hostPort }) {
    await withMonitor(folder, async (monitor) => {
      await monitor.command(`hostfwd_remove nic${nic} ${protocol}:${hostAddress}:${hostPort}`)
    })
  },

  async switchDisk(folder, slot, { path, uuid }) {
    await withMonitor(folder, async (monitor) => {
      const file = { 'snapshot-file': path, 'snapshot-node-name': nodeOf(uuid), format: 'qcow2' }
      await monitor.execute('blockdev-snapshot-sync', { device: idOf(slot), ...file, mode: 'existing' })
    })
  },

  async mergeIntoParent(folder, slot, medium, parent) {
    await withMonitor(folder, async (monitor) => {
      const nodes = { 'top-node': nodeOf(medium.uuid), 'base-node': nodeOf(parent.uuid) }
      await monitor.runJob('block-commit', { device: idOf(slot), ...nodes })
    })
  },

  async mergeIntoChild(folder, medium, grandparent) {
    await withMonitor(folder, async (monitor) => {
      const nodes = { device: nodeOf(medium.uuid), 'base-node': nodeOf(grandparent.uuid) }
      await monitor.runJob('block-stream', nodes)
    })
  },
}

function numberIn(file: string): number | undefined {
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined
}

/** Forwards a port; returns false if QEMU could not bind the host's port. */
async function forward(monitor: Monitor, nic: number, rule: Rule): Promise<boolean> {
  const { protocol, hostAddress, hostPort, guestAddress, guestPort } = rule
  const said = await monitor.command(
    `hostfwd_add nic${nic} ${protocol}:${hostAddress}:${hostPort}-${guestAddress}:${guestPort}`,
  )
  if (said === '') return true
  if (!said.includes('Could not set up host forwarding rule')) throw unknown(`what QEMU says: ${said}`)
  return false
}

/** Waits until QEMU answers. An earlier end of QEMU is reported as a machine that terminated during startup. */
async function untilAnswering({ folder, machine }: Launch): Promise<void> {
  const end = Date.now() + startMs
  for (;;) {
    if (existsSync(join(folder, 'end')) || Date.now() > end) {
      const said = existsSync(join(folder, 'qemu.out')) ? readFileSync(join(folder, 'qemu.out'), 'utf8') : ''
      process.stderr.write(said)
      throw refusal(
        `The virtual machine '${machine.name}' has terminated unexpectedly during startup with exit code 1 (0x1)`,
        { code: 'NS_ERROR_FAILURE', component: 'MachineWrap', called: false },
      )
    }
    if (existsSync(join(folder, 'qmp.sock')) && existsSync(join(folder, 'pid'))) {
      try {
        await withMonitor(folder, async () => {})
        return
      } catch {
        // QEMU has created the socket, but does not listen yet.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
