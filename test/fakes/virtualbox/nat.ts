import { contextLine, errorLine, type Place, Refusal, refusal } from './answer.js'
import type { Nic, Rule } from './model.js'

/** Parses `name,tcp,127.0.0.1,2222,,22`; undefined for any other text. */
export function parseRule(text: string): Rule | undefined {
  const [name, protocol, hostAddress, hostPort, guestAddress, guestPort, more] = text.split(',')
  if (
    name === undefined ||
    (protocol !== 'tcp' && protocol !== 'udp') ||
    hostAddress === undefined ||
    guestAddress === undefined ||
    !/^[0-9]+$/.test(hostPort ?? '') ||
    !/^[0-9]+$/.test(guestPort ?? '') ||
    more !== undefined
  ) {
    return undefined
  }
  const numbers = { hostPort: Number(hostPort), guestPort: Number(guestPort) }
  const ruleName = name === '' ? `${protocol}_${numbers.hostPort}_${numbers.guestPort}` : name
  return { name: ruleName, protocol, hostAddress, guestAddress, ...numbers }
}

const invalid = { code: 'NS_ERROR_INVALID_ARG', component: 'NATEngineWrap' } as const

/** Adds a rule; a name or a host port may occur only once in an adapter. */
export function addRule(nic: Nic, rule: Rule, line: number, file: string): void {
  const place: Place = [
    'AddRedirect(Bstr(strName).raw(), proto, Bstr(strHostIp).raw(), RTStrToUInt16(strHostPort), Bstr(strGuestIp).raw(), RTStrToUInt16(strGuestPort))',
    line,
    file,
  ]
  if (nic.rules.some(({ name }) => name === rule.name)) {
    throw refusal('A NAT rule of this name already exists', invalid, place)
  }
  const samePort = nic.rules.some(
    ({ protocol, hostAddress, hostPort }) =>
      protocol === rule.protocol && hostAddress === rule.hostAddress && hostPort === rule.hostPort,
  )
  if (samePort) {
    throw refusal('A NAT rule for this host port and this host IP already exists', invalid, place)
  }
  nic.rules.push(rule)
}

/** Removes a rule by its name. */
export function removeRule(nic: Nic, name: string, place: Place): Rule {
  const rule = nic.rules.find((each) => each.name === name)
  if (rule === undefined) {
    throw new Refusal(
      errorLine(
        'Code NS_ERROR_INVALID_ARG (0x80070057) - Invalid argument value (extended info not available)',
      ) + contextLine(place),
    )
  }
  nic.rules = nic.rules.filter((each) => each !== rule)
  return rule
}
