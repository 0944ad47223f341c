import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, vi } from 'vitest'
import { writeSerialGuest } from '../../fixtures/virtualbox/serial-guest.js'
import { endAll, installVBoxManage, type StandIn } from './install.js'

export interface Asked {
  readonly exit: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface MadeMachine {
  readonly name: string
  readonly uuid: string
  /** The file with the output of the machine's serial port. */
  readonly console: string
}

/** A host with only the stand-in, whose machines run in QEMU. */
export class StandInHost {
  readonly folder = mkdtempSync(join(tmpdir(), 'vbox-stand-in-'))
  standIn: StandIn
  #count = 0

  constructor() {
    this.standIn = installVBoxManage(this.folder)
  }

  remove(): void {
    endAll(this.standIn)
    rmSync(this.folder, { recursive: true, force: true })
  }

  ask(...words: string[]): Asked {
    const env = { PATH: process.env.PATH, HOME: this.folder, LC_ALL: 'C' }
    const said = spawnSync(this.standIn.program, words, { encoding: 'utf8', env, cwd: this.folder })
    return { exit: said.status, stdout: said.stdout, stderr: said.stderr }
  }

  must(...words: string[]): string {
    const { exit, stdout, stderr } = this.ask(...words)
    if (exit !== 0) throw new Error(`${words.join(' ')}: ${exit} ${stderr}`)
    return stdout
  }

  /** Creates a machine, which prints `hello` to its serial port unless the test writes another disk. */
  machine(writeDisk = (path: string): void => writeSerialGuest(path, 'hello')): MadeMachine {
    this.#count += 1
    const name = `m${this.#count}`
    const [raw, disk, console] = ['raw', 'vdi', 'log'].map((end) => this.path(`${name}.${end}`))
    if (raw === undefined || disk === undefined || console === undefined) throw new Error('no paths')
    writeDisk(raw)
    const base = ['--register', '--basefolder', this.folder]
    const made = this.must('createvm', '--name', name, '--ostype', 'Linux_64', ...base)
    this.must('convertfromraw', raw, disk, '--format', 'VDI')
    this.must('modifyvm', name, '--memory', '64', '--uart1', '0x3F8', '4', '--uartmode1', 'file', console)
    this.must('storagectl', name, '--name', 'SATA', '--add', 'sata', '--portcount', '2')
    this.attach(name, 'SATA', '0', 'hdd', disk)
    return { name, uuid: made.match(/UUID: (.*)/)?.[1] ?? '', console }
  }

  attach(name: string, controller: string, port: string, type: string, medium: string): void {
    const place = ['--storagectl', controller, '--port', port, '--device', '0']
    this.must('storageattach', name, ...place, '--type', type, '--medium', medium)
  }

  start(name: string): string {
    return this.must('startvm', name, '--type', 'headless')
  }

  state(name: string): string {
    return this.must('showvminfo', name, '--machinereadable').match(/^VMState="(.*)"$/m)?.[1] ?? ''
  }

  path(...names: string[]): string {
    return join(this.folder, ...names)
  }
}

/** The longest wait of a test for a guest on a busy host. */
export const patience = { timeout: 150_000, interval: 50 }

/** Waits until a machine's serial port has printed a text. */
export async function untilSaid(file: string, text: string): Promise<void> {
  await vi.waitFor(() => expect(readFileSync(file, 'utf8')).toContain(text), patience)
}
