import { suggest } from './suggest.js'

/** One line of ssh_config(5). */
export interface SshOption {
  readonly keyword: string
  readonly value: string
}

export interface SshOptionsRead {
  readonly options: readonly SshOption[]
  /** One sentence for each option that hydra-ops refuses. */
  readonly refused: readonly string[]
}

/** Flags of ssh(1) with a value, and their keywords in ssh_config(5). */
const withValue: Readonly<Record<string, string>> = {
  b: 'BindAddress',
  B: 'BindInterface',
  c: 'Ciphers',
  i: 'IdentityFile',
  J: 'ProxyJump',
  l: 'User',
  m: 'MACs',
  p: 'Port',
  S: 'ControlPath',
}

const withoutValue: Readonly<Record<string, SshOption>> = {
  4: { keyword: 'AddressFamily', value: 'inet' },
  6: { keyword: 'AddressFamily', value: 'inet6' },
  A: { keyword: 'ForwardAgent', value: 'yes' },
  a: { keyword: 'ForwardAgent', value: 'no' },
  C: { keyword: 'Compression', value: 'yes' },
  K: { keyword: 'GSSAPIAuthentication', value: 'yes' },
  k: { keyword: 'GSSAPIDelegateCredentials', value: 'no' },
  q: { keyword: 'LogLevel', value: 'QUIET' },
  t: { keyword: 'RequestTTY', value: 'yes' },
  T: { keyword: 'RequestTTY', value: 'no' },
  v: { keyword: 'LogLevel', value: 'VERBOSE' },
  X: { keyword: 'ForwardX11', value: 'yes' },
  x: { keyword: 'ForwardX11', value: 'no' },
}

/** Further flags of ssh(1) that take a value. */
const refusedWithValue = 'DEeFILOQRWw'

/** The keywords of ssh_config(5), OpenSSH 8 to 10, and those of Debian and macOS. */
const keywords = `AddKeysToAgent AddressFamily BatchMode BindAddress BindInterface CanonicalDomains
CanonicalizeFallbackLocal CanonicalizeHostname CanonicalizeMaxDots CanonicalizePermittedCNAMEs CASignatureAlgorithms
CertificateFile ChallengeResponseAuthentication ChannelTimeout CheckHostIP Cipher Ciphers ClearAllForwardings
Compression ConnectionAttempts ConnectTimeout ControlMaster ControlPath ControlPersist DynamicForward
EnableEscapeCommandline EnableSSHKeysign EscapeChar ExitOnForwardFailure FingerprintHash ForwardAgent ForwardX11
ForwardX11Timeout ForwardX11Trusted GatewayPorts GlobalKnownHostsFile GSSAPIAuthentication GSSAPIClientIdentity
GSSAPIDelegateCredentials GSSAPIKexAlgorithms GSSAPIKeyExchange GSSAPIRenewalForcesRekey GSSAPIServerIdentity
GSSAPITrustDns HashKnownHosts HostbasedAcceptedAlgorithms HostbasedAuthentication HostbasedKeyTypes HostKeyAlgorithms
HostKeyAlias Hostname IdentitiesOnly IdentityAgent IdentityFile IgnoreUnknown IPQoS KbdInteractiveAuthentication
KbdInteractiveDevices KexAlgorithms KnownHostsCommand LocalCommand LocalForward LogLevel LogVerbose MACs
NoHostAuthenticationForLocalhost NumberOfPasswordPrompts ObscureKeystrokeTiming PasswordAuthentication
PermitLocalCommand PermitRemoteOpen PKCS11Provider Port PreferredAuthentications Protocol ProtocolKeepAlives
ProxyCommand ProxyJump ProxyUseFdpass PubkeyAcceptedAlgorithms PubkeyAcceptedKeyTypes PubkeyAuthentication
RefuseConnection RekeyLimit RemoteForward RequestTTY RequiredRSASize RevokedHostKeys RhostsRSAAuthentication
RSAAuthentication SecurityKeyProvider SendEnv ServerAliveCountMax ServerAliveInterval SetEnv SetupTimeOut
StreamLocalBindMask StreamLocalBindUnlink StrictHostKeyChecking SyslogFacility Tag TCPKeepAlive Tunnel TunnelDevice
UpdateHostKeys UseKeychain UsePrivilegedPort User UserKnownHostsFile VerifyHostKeyDNS VersionAddendum VisualHostKey
WarnWeakCrypto XAuthLocation`.split(/\s+/)

const known = new Set(keywords.map((keyword) => keyword.toLowerCase()))

/** Keywords that would end hydra-ops's block of the configuration, or read another file. */
const structure = new Set(['host', 'match', 'include'])

/** Keywords that make ssh ignore its command, or give the command no input. */
const otherSessions = new Set(['remotecommand', 'sessiontype', 'stdinnull', 'forkafterauthentication'])

/** Keywords with a one-word value that hydra-ops's own connection follows; ssh removes quotes from such a value. */
export const followedWords: ReadonlySet<string> = new Set([
  'hostname',
  'port',
  'user',
  'identityfile',
  'certificatefile',
  'identitiesonly',
  'identityagent',
])

const elsewhere = 'write its content into ~/.ssh/config, or use "-o" "Keyword=value" here'

/** Parses `deployment.sshOptions` (`-o X=Y`, `X=Y`, `-p 2222`, `-i file` and the like) into lines of ssh_config(5). */
export function readSshOptions(given: readonly string[]): SshOptionsRead {
  const words = given.flatMap(splitOnce)
  const options: SshOption[] = []
  const refused: string[] = []
  const take = ({ keyword, value }: SshOption) => {
    const option = { keyword, value: unquoted(keyword, value.trim()) }
    const why = refusal(option)
    if (why === undefined) options.push(option)
    else refused.push(why)
  }
  while (words.length > 0) {
    const word = words.shift() ?? ''
    const flag = /^-([^-\s])(.*)$/s.exec(word)
    const [, letter = '', attached = ''] = flag ?? []
    const plain = flag === null ? undefined : withoutValue[letter]
    if (plain !== undefined) {
      options.push(plain)
      // One word may hold several flags, as in -4C.
      if (attached !== '') words.unshift(`-${attached}`)
      continue
    }
    const keyword = withValue[letter]
    const takesNext = letter === 'o' || keyword !== undefined || refusedWithValue.includes(letter)
    const value = flag === null ? word : attached !== '' || !takesNext ? attached : words.shift()
    if (flag !== null && letter !== 'o' && keyword === undefined) {
      refused.push(refusedFlag(letter))
    } else if (value === undefined || value === '') {
      refused.push(flag === null ? `'' is not an option of ssh; ${asLine}` : `'-${letter}' has no value`)
    } else if (keyword !== undefined) {
      take({ keyword, value })
    } else {
      const parts = /^([A-Za-z][A-Za-z0-9]*)(?:\s*=\s*|\s+)(.+)$/s.exec(value)
      if (parts === null) refused.push(`'${value}' is not an option of ssh; ${asLine}`)
      else take({ keyword: parts[1] ?? '', value: parts[2] ?? '' })
    }
  }
  return { options, refused }
}

function unquoted(keyword: string, value: string): string {
  return followedWords.has(keyword.toLowerCase()) ? value.replace(/^"([^"]*)"$/, '$1') : value
}

const asLine = 'write the option as "-o" "Keyword=value", with a keyword of ssh_config(5)'

/** Splits a flag and its value in one string (`-p 2222`), as NixOps users write the flag. */
function splitOnce(option: string): string[] {
  const parts = /^(-[A-Za-z0-9])\s+(.*)$/s.exec(option.trim())
  return parts === null ? [option.trim()] : [parts[1] ?? '', parts[2] ?? '']
}

function refusedFlag(letter: string): string {
  if (letter === 'F') {
    return `'-F' names another configuration file, but hydra-ops reads only yours; ${elsewhere}`
  }
  return `'-${letter}' is only for a single call of ssh, or is not an option of ssh; ${asLine}`
}

function refusal({ keyword, value }: SshOption): string | undefined {
  const name = keyword.toLowerCase()
  if (/[\n\r\0]/.test(value)) return `the value of '${keyword}' has more than one line`
  if (structure.has(name)) return `'${keyword}' begins or reads other parts of a configuration; ${elsewhere}`
  if (otherSessions.has(name))
    return `'${keyword}' would keep hydra-ops from running commands and from copying`
  if (!known.has(name)) {
    const near = suggest(keyword, keywords)
    const meant = near === undefined ? '' : `; did you mean '${near}'?`
    return `'${keyword}' is not a keyword of ssh_config(5)${meant}`
  }
  if (name === 'port' && !isPort(value.trim())) return `'${value}' is not a port`
  if (name === 'connecttimeout' && value.toLowerCase() !== 'none' && secondsOf(value) === undefined) {
    return `'${value}' is not a time; write ConnectTimeout in seconds`
  }
  if (name === 'proxyjump' && !isJump(value.trim())) {
    return `'${value}' is not a jump host; write the jump host as user@host:port`
  }
  return undefined
}

/** Longest delay of a Node timer; a timer with a longer delay fires at once. */
const longestTimerMs = 2 ** 31 - 1

/** Returns the connection deadline that ConnectTimeout sets in the options, in milliseconds. */
export function connectTimeoutMs(given: readonly string[]): number | undefined {
  const { options } = readSshOptions(given)
  const value = options.find(({ keyword }) => keyword.toLowerCase() === 'connecttimeout')?.value
  const seconds = value === undefined ? undefined : secondsOf(value)
  return seconds === undefined ? undefined : Math.min(seconds * 1000, longestTimerMs)
}

const unitSeconds: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }

/** Parses a time of sshd_config(5), "TIME FORMATS": `90`, `2m`, `1h30m`; undefined for zero and for any other text. */
function secondsOf(text: string): number | undefined {
  if (!/^(?:\d{1,7}[smhdw]?)+$/i.test(text.trim())) return undefined
  const parts = [...text.matchAll(/(\d+)([smhdw]?)/gi)]
  const seconds = parts.reduce(
    (sum, [, count, unit = '']) => sum + Number(count) * (unitSeconds[unit.toLowerCase()] ?? 1),
    0,
  )
  return seconds > 0 ? seconds : undefined
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) > 0 && Number(text) < 65536
}

/** Tells whether a text is `none`, or hosts separated by commas. */
function isJump(text: string): boolean {
  return text.split(',').every((hop) => isHop(hop.trim()))
}

/**
 * Tells whether a hop is one `user@host:port`, `ssh://…` or `[v6]:port`. Neither ssh nor a shell can mistake such a
 * text for an option or a command.
 */
export function isHop(hop: string): boolean {
  return /^[A-Za-z0-9_[%][A-Za-z0-9_.@:%[\]/+=~-]*$/.test(hop)
}
