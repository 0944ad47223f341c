import { chmodSync, existsSync, lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createNixCommand, expectSuccess, type NixCommand, type NixTool } from '../../nix/nix-command.js'
import type { NixFlags } from '../../src/core/nix.js'
import { nixString } from '../../src/core/nix-string.js'
import type { Run } from '../../src/core/run.js'
import { localCommands } from '../../src/exec/local-commands.js'

export const noFlags: NixFlags = { showTrace: false, options: [] }

/** The real Nix with the test's own chroot store, for any user and without a substituter. */
export class ScratchNix {
  readonly folder = mkdtempSync(join(tmpdir(), 'hydra-ops-nix-'))
  readonly env = { NIX_REMOTE: join(this.folder, 'store'), NIX_CONFIG: 'substituters =' }
  readonly command: NixCommand = createNixCommand({
    local: localCommands,
    stateRoot: this.folder,
    env: this.env,
  })
  readonly lines: string[] = []
  readonly run: Run = { signal: new AbortController().signal, log: (line) => this.lines.push(line) }

  dispose(): void {
    makeRemovable(this.folder)
    rmSync(this.folder, { recursive: true, force: true })
  }

  async nix(tool: NixTool, args: readonly string[], stdin?: string): Promise<string> {
    const options = { signal: this.run.signal, timeoutMs: 120_000, what: 'try' }
    const result = await this.command.run(tool, args, stdin === undefined ? options : { ...options, stdin })
    return expectSuccess(result, [tool, ...args].join(' '))
  }

  /** Returns the .drv path of an expression. */
  async instantiate(expression: string): Promise<string> {
    const text = await this.nix('nix-instantiate', ['-'], expression)
    return text.trim()
  }

  /** Returns the path on this host for a store path. */
  real(path: string): string {
    return join(this.env.NIX_REMOTE, path)
  }

  has(path: string): boolean {
    return existsSync(this.real(path))
  }
}

/** Makes the folders of a store writable, because an ordinary user cannot empty read-only folders. */
function makeRemovable(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (!stat?.isDirectory()) return
  chmodSync(path, 0o700)
  for (const name of readdirSync(path)) makeRemovable(join(path, name))
}

/** Returns the expression of a derivation with /bin/sh and Debian's programs; `build` may use `$out`. */
export function shellDerivation(name: string, build: string, attributes = ''): string {
  const script = nixString(`PATH=/usr/bin:/bin; set -e; ${build}`)
  return `(derivation {
    name = "${name}"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" ${script} ]; ${attributes}
  })`
}

/** Returns the expression of a package with one program in bin. */
export function programPackage(name: string, text = '#!/bin/sh\n', attributes = ''): string {
  const build = `mkdir -p $out/bin; printf %s "$text" > $out/bin/${name}; chmod +x $out/bin/${name}`
  return shellDerivation(name, build, `text = ${nixString(text)}; ${attributes}`)
}
