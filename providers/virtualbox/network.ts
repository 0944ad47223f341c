import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Run } from '../../src/core/run.js'
import { type Forward, forwardChanges, portTaken } from '../common/ports.js'
import { portOption } from './config.js'
import type { MachineFacts, NatRule } from './machine-facts.js'
import type { VirtualBoxResource } from './places.js'
import type { VBoxManage } from './vboxmanage.js'

const sshRule = 'ssh'
const rulePrefix = 'hydra-ops-'

/** Lists hydra-ops's own NAT rules; the user's rules have other names. */
export function ourRules({ rules }: Pick<MachineFacts, 'rules'>): NatRule[] {
  return rules.filter(({ name }) => name === sshRule || name.startsWith(rulePrefix))
}

/** Names a rule by its ports, so that no two rules have the same name. */
function ruleName({ host, guest }: Forward, sshPort: number): string {
  return host === sshPort ? sshRule : `${rulePrefix}${guest}-${host}`
}

/** Returns the steps from the current rules to the wanted rules. Each step is one or two arguments after `natpf1`. */
export function ruleSteps(
  facts: Pick<MachineFacts, 'rules'>,
  wanted: readonly Forward[],
  sshPort: number,
): string[][] {
  const rules = ourRules(facts).filter(isLoopback)
  const strange = ourRules(facts).filter((rule) => !isLoopback(rule))
  const { removed, added } = forwardChanges(rules, wanted)
  const gone = new Set(removed.map(keyOf))
  const renamed = rules.filter((rule) => !gone.has(keyOf(rule)) && rule.name !== ruleName(rule, sshPort))
  const deleted = [...strange, ...rules.filter((rule) => gone.has(keyOf(rule))), ...renamed]
  return [
    ...deleted.map(({ name }) => ['delete', name]),
    ...[...added, ...renamed].map((forward) => [
      `${ruleName(forward, sshPort)},tcp,127.0.0.1,${forward.host},,${forward.guest}`,
    ]),
  ]
}

/** Tells whether a rule listens only on loopback. Any other address opens the guest to the network. */
function isLoopback({ hostIp, protocol }: NatRule): boolean {
  return hostIp === '127.0.0.1' && protocol === 'tcp'
}

function keyOf({ host, guest }: Forward): string {
  return `${host}:${guest}`
}

/** Opens and closes the forwarded ports of a running machine. */
export async function applyForwards(
  vbox: VBoxManage,
  resource: VirtualBoxResource,
  { facts, wanted }: { readonly facts: MachineFacts; readonly wanted: readonly Forward[] },
  run: Run,
): Promise<void> {
  const { machine, name, allocation } = resource
  const call = { what: `forward ports of machine '${name}'`, machine }
  for (const step of ruleSteps(facts, wanted, allocation.sshPort)) {
    await vbox.must(['controlvm', facts.uuid, 'natpf1', ...step], call, run)
  }
  const lost = lostPorts(facts, wanted)[0]
  if (lost !== undefined) throw portTaken(machine, lost, portOption)
}

/**
 * Finds the wanted ports that another program holds. VirtualBox starts the machine without these ports, and reports
 * them only in its log.
 */
export function lostPorts(
  { logFolder }: Pick<MachineFacts, 'logFolder'>,
  wanted: readonly Forward[],
): number[] {
  const file = join(logFolder, 'VBox.log')
  if (!existsSync(file)) return []
  const failed = readFileSync(file, 'utf8').matchAll(/failed to set up redirection of (\d+) to \d+/g)
  const ports = new Set([...failed].map(([, port]) => Number(port)))
  return wanted.map(({ host }) => host).filter((port) => ports.has(port))
}
