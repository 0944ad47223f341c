import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { ScratchNix } from '../fakes/scratch-nix.js'

const web = '/nix/store/a7wv88lhcc8vb97ascyj8vvhvkpamzwa-nixos-system-web-23.11.1'
const webDrv = '/nix/store/zg0nqswn6mk27ncjvlzfraawl5j6j0g4-nixos-system-web-23.11.1.drv'
const lib = '/nix/store/5lh7kydiz8k9xwqhhy94qx4ivi31bc1c-libfoo-1'
/** Paths that were built for the recording and requested there, with unknown content. */
const others = [
  '/nix/store/f0c4k8zmn676wgs8dzlc8s1zn2zkfprx-nixos-system-db-23.11.1',
  '/nix/store/5p08ixfjz54f52icz6z2wd603q76mvf0-fleet-1',
  '/nix/store/35b4x5mz5wcgparq4lsyjxgw5lk8vkwd-nixos-system-broken-1.0.drv',
]

/**
 * Puts the recorded paths into a store under their recorded names. The recording used another store folder, and its
 * paths were rewritten afterwards. The content is therefore the same, but hashes and sizes differ.
 */
export async function fillStore(nix: ScratchNix): Promise<void> {
  write(nix.real(join(web, 'bin', 'switch-to-configuration')), 'web-1\n')
  write(nix.real(join(web, 'nix-support', 'hydra-build-products')), `file sd ${web}/system\n`)
  write(nix.real(join(web, 'system')), `${lib}\n`)
  for (const path of [lib, ...others]) write(nix.real(path), path.endsWith('.drv') ? derivation : path)
  write(nix.real(webDrv), derivation)
  for (const path of [webDrv, lib, ...others]) await register(nix, path)
  await register(nix, web, webDrv, [lib, web])
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text, { mode: 0o444 })
}

/** Registers a path as valid, with its real hash and size. */
async function register(
  nix: ScratchNix,
  path: string,
  deriver = '',
  references: readonly string[] = [],
): Promise<void> {
  const archive = await nix.nix('nix-store', ['--dump', nix.real(path)])
  const hash = createHash('sha256').update(archive).digest('hex')
  const lines = [path, hash, String(archive.length), deriver, String(references.length), ...references]
  await nix.nix('nix-store', ['--load-db'], `${lines.join('\n')}\n`)
}

/** A derivation reduced to its system. The output path is empty, because Nix refuses a wrong path. */
const derivation =
  'Derive([("out","","","")],[],[],"x86_64-linux","/bin/sh",[],[("name","recorded"),("out",""),("system","x86_64-linux")])'
