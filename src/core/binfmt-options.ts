import * as z from 'zod'
import { documented } from './option-docs.js'

/** QEMU's emulators by Nix system, under the names that their packages register. */
export const emulators = {
  'aarch64-linux': 'qemu-aarch64',
  'armv6l-linux': 'qemu-arm',
  'armv7l-linux': 'qemu-arm',
  'i686-linux': 'qemu-i386',
  'mips64el-linux': 'qemu-mips64el',
  'mipsel-linux': 'qemu-mipsel',
  'powerpc64-linux': 'qemu-ppc64',
  'powerpc64le-linux': 'qemu-ppc64le',
  'riscv32-linux': 'qemu-riscv32',
  'riscv64-linux': 'qemu-riscv64',
  's390x-linux': 'qemu-s390x',
  'x86_64-linux': 'qemu-x86_64',
} as const

const EmulatedSystem = z.enum([
  'aarch64-linux',
  'armv6l-linux',
  'armv7l-linux',
  'i686-linux',
  'mips64el-linux',
  'mipsel-linux',
  'powerpc64-linux',
  'powerpc64le-linux',
  'riscv32-linux',
  'riscv64-linux',
  's390x-linux',
  'x86_64-linux',
])

/** `deployment.binfmt`: systems whose programs the machine emulates. */
export const BinfmtOptions = z.strictObject({
  emulatedSystems: documented(
    z.array(EmulatedSystem).default([]),
    "systems whose programs run by emulation. The machine's Nix builds for them, and so do its Hydra and its `deployment.builder`",
    ['aarch64-linux', 'armv7l-linux'],
    { shownType: 'list of systems' },
  ),
})
export type BinfmtOptions = z.infer<typeof BinfmtOptions>
