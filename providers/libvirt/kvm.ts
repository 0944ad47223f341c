import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describeEnd } from '../../src/core/command-result.js'
import type { LocalCommands } from '../../src/core/context.js'
import { messageOf, throwIfAborted } from '../../src/core/errors.js'
import type { Run } from '../../src/core/run.js'

export type KvmAnswer = { readonly works: true } | { readonly works: false; readonly why: string }

/** Deadline for a program that takes milliseconds, unless it hangs. */
const deadlineMs = 5_000

/** Exit status that `isa-debug-exit` computes from the guest's value: 2 × 42 + 1. */
const guestSaysDone = 85

/**
 * Tells whether KVM works here. An open device proves nothing. KVM only emulates on some hosts, and stops at the
 * first instruction that its emulator lacks. A tiny test guest therefore enters long mode, as every kernel does,
 * and uses such instructions.
 */
export async function tryKvm(local: Pick<LocalCommands, 'run'>, run: Run): Promise<KvmAnswer> {
  const folder = mkdtempSync(join(tmpdir(), 'hydra-ops-kvm-'))
  const gaveUp = new AbortController()
  let why: string | undefined
  try {
    const firmware = join(folder, 'firmware')
    writeFileSync(firmware, probeFirmware())
    const result = await local.run(
      [
        'qemu-system-x86_64',
        ...['-machine', 'pc,accel=kvm', '-cpu', 'host', '-m', '16', '-nodefaults', '-no-reboot'],
        ...['-display', 'none', '-device', 'isa-debug-exit,iobase=0xf4,iosize=0x04', '-bios', firmware],
      ],
      {
        signal: AbortSignal.any([run.signal, gaveUp.signal]),
        timeoutMs: deadlineMs,
        what: 'try KVM',
        onLine: (line) => {
          if (!/KVM internal error|failed to initialize|Could not access KVM/.test(line)) return
          why ??= line.replace(/^qemu-system-x86_64: /, '').trim()
          gaveUp.abort()
        },
      },
    )
    if (result.kind === 'exited' && result.code === guestSaysDone) return { works: true }
    return { works: false, why: why ?? describeEnd(result) }
  } catch (error) {
    throwIfAborted(run.signal)
    return { works: false, why: why ?? messageOf(error) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Runs the probe once, and keeps the answer for the life of the process. */
export function onceTried(probe: (run: Run) => Promise<KvmAnswer>): (run: Run) => Promise<KvmAnswer> {
  let answer: KvmAnswer | undefined
  return async (run) => {
    answer ??= await probe(run)
    return answer
  }
}

/**
 * Builds 64 KiB of firmware; the processor starts near its end. Source for the GNU assembler:
 *
 *     .code16   cli; lgdtl %cs:gdtr; protected mode; ljmpl $8, $pm
 *     .code32   pm: page tables at 0x1000 that map the first 2 MiB and the last 2 MiB below 4 GiB;
 *               PAE and OSFXSR in CR4, LME in EFER, PG in CR0; ljmpl $24, $lm
 *     .code64   lm: addps %xmm0, %xmm0; lock cmpxchg16b 0x100000; movb $42, %al; outb %al, $0xf4; hlt
 */
function probeFirmware(): Uint8Array {
  const firmware = Buffer.alloc(65_536)
  Buffer.from(probeProgram, 'hex').copy(firmware)
  // The reset vector, 16 bytes before the end, holds a near jump to the beginning.
  Buffer.from([0xe9, 0x0d, 0x00]).copy(firmware, 0xfff0)
  return firmware
}

const probeProgram = [
  'fa2e660f0116d0000f20c00c010f22c066ea1800ffff0800b8100000008ed88ec08ed0bf0010000031c0b900100000fc',
  'f3abc7050010000003200000c7050020000003300000c7050030000083000000c7051820000003400000c705f84f0000',
  '8300e0ff0f20e00d200200000f22e0b8001000000f22d8b9800000c00f320d000100000f300f20c00d000000800f22c0',
  'ea9700ffff18000f58c0f0480fc70c2500001000b02ae6f4f40f1f80000000000000000000000000ffff0000009bcf00',
  'ffff00000093cf00ffff0000009baf001f00b000ffff',
].join('')
