import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { Ops } from '../core/context.js'
import { nixosImage } from '../core/image.js'
import type { Ui } from '../ui/ui.js'
import { commonFlags, example } from './flags.js'
import { type BuildFlags, buildFlags, evaluationFlags, nixFlagsOf } from './nix-flags.js'
import type { Cli, CommonFlags } from './verb.js'

/** Resolves a reference. `./disk.qcow2` is a path relative to the current folder; a bare name refers to a recipe. */
const absolute = (reference: string) => (/^\.{1,2}\//.test(reference) ? resolve(reference) : reference)

export function registerImage(command: Command, cli: Cli): void {
  example(command, 'hydra-ops image build debian-12 --refresh', 'hydra-ops image list')
  const build = command
    .command('build <reference>')
    .description('build or fetch an image that this host lacks: debian-12, nixos, a path, a URL')
    .option('--refresh', 'build or fetch a new image even if this host has the image')
  commonFlags(build, { json: true })
  buildFlags(build)
  evaluationFlags(build)
  example(build, 'hydra-ops image build debian-12', 'hydra-ops image build nixos -d lab')
  build.action((reference: string, flags: CommonFlags & BuildFlags & { refresh?: boolean }) =>
    cli.run(flags, async (ops, ui) => {
      if (reference === nixosImage) return buildNixos(ops, ui, flags)
      const { buildImage } = await import('../operations/images.js')
      const run = { signal: ops.signal, log: (line: string) => ui.remark(line) }
      const image = await buildImage(ops, absolute(reference), flags.refresh ?? false, run)
      await ui.settle()
      if (ui.json) ui.printJson(image)
      else ui.print(image.disk)
      return 0
    }),
  )
  const list = command.command('list').description('list the images of this host')
  commonFlags(list, { deployment: false, json: true, plain: true })
  example(list, 'hydra-ops image list')
  list.action((flags: CommonFlags) =>
    cli.run(flags, async (ops, ui) => {
      const images = await (await import('../operations/images.js')).listImages(ops)
      if (ui.json) ui.printJson(images)
      else ui.print((await import('../ui/list-view.js')).imagesView(images, ui.plain))
      return 0
    }),
  )
  const rm = command.command('rm <image>').description('remove an image that no machine uses')
  commonFlags(rm, { deployment: false, json: true })
  example(rm, 'hydra-ops image rm debian-12')
  rm.action((image: string, flags: CommonFlags) =>
    cli.run(flags, async (ops, ui) => {
      const removed = await (await import('../operations/images.js')).removeImage(ops, image)
      if (ui.json) ui.printJson(removed)
      for (const each of removed) {
        ui.remark('reference' in each ? `removed ${each.reference} (${each.id})` : `removed ${each.id}`)
      }
      return 0
    }),
  )
}

/**
 * Builds the images of a deployment's NixOS machines. The output says `experimental`, because no real image of this
 * kind has been tested.
 */
async function buildNixos(ops: Ops, ui: Ui, flags: CommonFlags & BuildFlags & { refresh?: boolean }) {
  const { buildNixosImages } = await import('../operations/nixos-images.js')
  ui.remark('the image nixos is experimental')
  const run = { signal: ops.signal, log: (line: string) => ui.remark(line) }
  const request = { deployment: flags.deployment, refresh: flags.refresh ?? false, nix: nixFlagsOf(flags) }
  const images = await buildNixosImages(ops, request, run)
  await ui.settle()
  if (ui.json) ui.printJson(images)
  else for (const { disk } of images) ui.print(disk)
  return 0
}
