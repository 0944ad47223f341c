import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Answer, Refusal } from './answer.js'

export const logo = `Oracle VirtualBox Command Line Management Interface Version 7.2.22_Debian
Copyright (C) 2005-2026 Oracle and/or its affiliates

`

/** The recorded texts of the real program, for answers that do not depend on the state. */
export class Recorded {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Returns the text that a transcript recorded on standard output or standard error. */
  text(name: string, stream: 'stdout' | 'stderr'): string {
    const all = readFileSync(join(this.#folder, `${name.slice(0, 1)}xx.txt`), 'utf8')
    const found = transcriptsIn(all).find((each) => each.name === name)
    if (found === undefined) throw new Error(`no transcript '${name}' in ${this.#folder}`)
    return found[stream]
  }

  /** Returns the usage of one verb, from a transcript in which the verb was misused. */
  usage(name: string): string {
    const said = this.text(name, 'stderr')
    return said.slice(said.indexOf('Usage - ')).replace(/\nVBoxManage: error: .*\n$/, '')
  }
}

/** The transcripts in which verbs were misused. */
const misused = {
  VBoxManage: '004-unknown-verb',
  list: '008-list-hostonlynets',
  createvm: '119-createvm-missing-name',
  modifyvm: '254-modifyvm-no-options',
  storagectl: '302-storagectl-sataportcount-old',
  createmedium: '315-createmedium-size0',
} as const

export type Misused = keyof typeof misused

/** Returns the error for a misuse as the real program prints it: the usage follows the error. */
export function misuse(recorded: Recorded, verb: Misused, message: string): Refusal {
  return new Refusal(`${logo}VBoxManage: error: ${message}\n\n${usageWith(recorded, verb, message)}`, 2)
}

/** Returns the error for an unknown option. No empty line precedes the usage, and modifyvm exits with 1. */
export function unknownOption(recorded: Recorded, verb: Misused, option: string): Refusal {
  const message = `Unknown option: ${option}`
  const said = `${logo}VBoxManage: error: ${message}\n${usageWith(recorded, verb, message)}`
  return new Refusal(said, verb === 'modifyvm' ? 1 : 2)
}

/** Returns the usage of a verb; the long usage of modifyvm is followed by the error once more. */
function usageWith(recorded: Recorded, verb: Misused, message: string): string {
  const again = verb === 'modifyvm' ? `\nVBoxManage: error: ${message}\n` : ''
  return recorded.usage(misused[verb]) + again
}

/** Lists the options in the usage of a verb, in which `N` and `X` stand for a number. */
export function listedOptions(recorded: Recorded, verb: Misused): ReadonlySet<string> {
  const found = recorded.usage(misused[verb]).matchAll(/--[a-zA-Z0-9-]+/g)
  return new Set([...found].map(([option]) => option))
}

export interface Transcript extends Answer {
  readonly name: string
  readonly driver: string
  readonly command: string
}

const heads =
  /^# VBoxManage transcript: (.*)\n# driver: (.*)\n\$ (.*)\n# exit code: (\d+) .*\n----- stdout .*\n/

/** Splits a text into its transcripts. */
export function transcriptsIn(text: string): Transcript[] {
  return text.split(/^(?=# VBoxManage transcript: )/m).map((part) => {
    const head = part.match(heads)
    if (head === null) throw new Error(`no transcript: ${part.slice(0, 60)}`)
    const [all, name = '', driver = '', command = '', exit = ''] = head
    const body = part.slice(all.length).replace(/----- end -----\s*$/, '')
    const [stdout = '', stderr = ''] = body.split(/^----- stderr .*\n/m)
    return { name, driver, command, exit: Number(exit), stdout, stderr }
  })
}
