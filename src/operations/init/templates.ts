/** A network expression that `init` writes. */
export interface Template {
  readonly name: string
  readonly summary: string
}

export const templates: readonly Template[] = [
  {
    name: 'hydra',
    summary: 'a whole Hydra on one Debian machine: a new guest of this host, or an existing host',
  },
]
