import { cpSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { packageRoot } from '../../src/core/package-root.js'
import { systemFiles } from '../fixtures/nixos-system/nixos-system.js'
import { fixtureNixpkgs } from '../nix/real-nix.js'
import { readDocument } from './documents.js'
import { codeBlocks } from './markdown.js'
import { replaced } from './reader-shell.js'

export const document = readDocument('docs/morph.md')

/** The address of nixpkgs in the document. */
export const nixpkgsAddress = 'https://github.com/NixOS/nixpkgs.git'
export const nixpkgsBranch = 'nixos-24.11'
/** The path of the repository with the stand-in for nixpkgs, on the Hydra machine. */
export const nixpkgsOnCi = '/srv/nixpkgs.git'

/** Replacements in the document's files, as pairs of old and new text. */
type Changes = readonly (readonly [string, string])[]

/** Writes the two files of the document, and the file that describes the hardware of `pi`, into a folder. */
export function writeMorphNetwork(folder: string, changes: Changes = []): void {
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  write('network.nix', `${blockBelow('Your Morph network')}\n`)
  const ci = changes.reduce((text, [before, after]) => replaced(text, before, after), blockBelow('The Hydra'))
  write('ci.nix', `${ci}\n`)
  write('pi-hardware.nix', hardware)
  for (const [path, text] of Object.entries(systemFiles({ services: ['ssh.service'] })))
    write(join('pi-system', path), text)
}

function blockBelow(heading: string): string {
  const [block] = codeBlocks(document).filter((each) => each.heading === heading && each.language === 'nix')
  if (block === undefined) throw new Error(`docs/morph.md has no network below '${heading}'`)
  return block.text
}

/**
 * The hardware file of a stand-in for `pi`: a Debian guest that switches between made-up systems. The system has the
 * /etc files of NixOS, and all its parts are built for `aarch64-linux`.
 */
const hardware = `{ config, lib, pkgs, ... }:
{
  boot.loader.grub.device = "/dev/vda";
  fileSystems."/".device = "/dev/vda1";
  system.build.toplevel = lib.mkForce (pkgs.runCommand "nixos-system-pi" { } ''
    cp -r \${./pi-system} $out
    chmod -R u+w $out
    chmod +x $out/bin/* $out/init
    mkdir -p $out/units $out/sw
    \${lib.concatStringsSep "\\n" (lib.mapAttrsToList (name: file: "cp \${file} $out/units/\${lib.escapeShellArg name}") config.system.build.unitSources)}
    ln -s /usr/bin $out/sw/bin
    ln -s \${config.system.build.etc}/etc $out/etc
  '');
}
`

/**
 * Writes the tests' stand-in for nixpkgs, with a package of Hydra, into a folder. `place` writes a busybox for ARM to a
 * file, and this busybox builds the packages for ARM. HYDRA_OPS_HYDRA_PACKAGE replaces the package of Hydra.
 */
export function writeNixpkgs(folder: string, place: (file: string) => void): void {
  cpSync(fixtureNixpkgs, folder, { recursive: true })
  renameSync(join(folder, 'default.nix'), join(folder, 'packages.nix'))
  mkdirSync(join(folder, 'arm64'))
  place(join(folder, 'arm64', 'busybox'))
  cpSync(join(packageRoot(), 'test/fixtures/packages'), join(folder, 'hydra'), {
    recursive: true,
    filter: (path) => !path.endsWith('__pycache__'),
  })
  const real = process.env.HYDRA_OPS_HYDRA_PACKAGE
  const hydra = real === undefined ? '(import ./hydra { }).hydra' : JSON.stringify(real)
  writeFileSync(
    join(folder, 'default.nix'),
    `{ system ? builtins.currentSystem, config ? { }, overlays ? [ ], ... }@given:
import ./packages.nix (given // {
  config = (if system == "aarch64-linux" then { busybox = "\${./arm64}/busybox"; } else { }) // config;
  overlays = [ (final: previous: { hydra = ${hydra}; }) ] ++ overlays;
})
`,
  )
}
