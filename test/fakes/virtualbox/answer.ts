/** The output of one call of the stand-in, and its exit status. */
export interface Answer {
  readonly exit: number
  readonly stdout: string
  readonly stderr: string
}

/** A refused call, with the output of the real program in this case. */
export class Refusal extends Error {
  readonly stderr: string
  readonly exit: number
  readonly stdout: string

  constructor(stderr: string, exit = 1, stdout = '') {
    super(stderr)
    this.stderr = stderr
    this.exit = exit
    this.stdout = stdout
  }
}

/** The error codes of VirtualBox's interfaces in the transcripts. */
const codes = {
  VBOX_E_OBJECT_NOT_FOUND: '0x80bb0001',
  VBOX_E_INVALID_VM_STATE: '0x80bb0002',
  VBOX_E_FILE_ERROR: '0x80bb0004',
  VBOX_E_IPRT_ERROR: '0x80bb0005',
  VBOX_E_INVALID_OBJECT_STATE: '0x80bb0007',
  VBOX_E_NOT_SUPPORTED: '0x80bb0009',
  VBOX_E_OBJECT_IN_USE: '0x80bb000c',
  NS_ERROR_INVALID_ARG: '0x80070057',
  NS_ERROR_FAILURE: '0x80004005',
  NS_ERROR_ABORT: '0x80004004',
  E_ACCESSDENIED: '0x80070005',
} as const

export type Code = keyof typeof codes

/** Returns the number of a code, as the program prints it. */
export function codeNumber(code: Code): string {
  return codes[code]
}

/**
 * Interfaces by the component of VirtualBox that refuses a call. `SessionMachine` is a machine that this call has
 * locked.
 */
const interfaces = {
  SessionMachine: 'IMachine',
  MachineWrap: 'IMachine',
  VirtualBoxWrap: 'IVirtualBox',
  MediumWrap: 'IMedium',
  NATEngineWrap: 'INATEngine',
  NetworkAdapterWrap: 'INetworkAdapter',
  ConsoleWrap: 'IConsole',
  SharedFolderWrap: 'ISharedFolder',
  StorageControllerWrap: 'IStorageController',
  HostWrap: 'IHost',
  HostNetworkInterfaceWrap: 'IHostNetworkInterface',
} as const

/** The place in the program's source that reported the error: the call, the line, the file. */
export type Place = readonly [call: string, line: number, file: string]

/** Returns the line `Context: …` of an error. */
export function contextLine([call, line, file]: Place): string {
  return errorLine(`Context: "${call}" at line ${line} of file ${file}`)
}

/** Returns one line of an error. */
export function errorLine(message: string): string {
  return `VBoxManage: error: ${message}\n`
}

export interface Details {
  readonly code: Code
  readonly component: keyof typeof interfaces
  /** Whether the error came from the call itself, and not from the progress of a task. */
  readonly called?: boolean
}

/** Returns the line `Details: …` of an error. */
export function detailsLine({ code, component, called = true }: Details): string {
  const callee = called ? ', callee nsISupports' : ''
  return errorLine(
    `Details: code ${code} (${codes[code]}), component ${component}, interface ${interfaces[component]}${callee}`,
  )
}

/** Returns the lines of a VirtualBox error: message, details, and the context if the place is known. */
export function told(message: string, details: Details, place?: Place): string {
  return errorLine(message) + detailsLine(details) + (place === undefined ? '' : contextLine(place))
}

/** Returns an error as VirtualBox reports it: the message, its code and its place. */
export function refusal(message: string, details: Details, place?: Place): Refusal {
  return new Refusal(told(message, details, place))
}

/** Returns the error for a call that no transcript of the real program covers. */
export function unknown(what: string): Refusal {
  return new Refusal(`VBoxManage: the stand-in does not know ${what}\n`, 70)
}

/** The text that a task prints to standard error while it runs. */
export const progress = '0%...10%...20%...30%...40%...50%...60%...70%...80%...90%...100%\n'

/** Returns the output of a failed task: its code in place of the percentages, a headline, the causes. */
export function failedTask(code: Code, headline: string, causes: string, place: Place): string {
  return `0%...${code}\n${errorLine(headline)}${causes}${contextLine(place)}`
}

export function answer(stdout = '', stderr = '', exit = 0): Answer {
  return { exit, stdout, stderr }
}
