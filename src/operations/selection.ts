import type { MachineName } from '../core/names.js'

/** Which machines a command is about. `on` and `include`/`exclude` are not used together. */
export interface Selection {
  /** `a,b*,@tag,!x` */
  readonly on?: string | undefined
  readonly include?: readonly string[] | undefined
  readonly exclude?: readonly string[] | undefined
}

export interface Selectable {
  readonly name: MachineName
  readonly tags: readonly string[]
}
