import { createHash } from 'node:crypto'
import { mapTexts } from '../../src/core/moved-paths.js'
import type { Forward } from '../common/ports.js'

/**
 * All data in a domain's XML. Forwarded ports can change while the domain runs, everything else only at a start.
 */
export interface DomainSpec {
  readonly name: string
  readonly uuid: string
  readonly deployment: string
  readonly machine: string
  readonly type: 'kvm' | 'qemu'
  readonly memoryMiB: number
  readonly vcpu: number
  readonly kernel: string | undefined
  readonly initrd: string | undefined
  readonly cmdline: string | undefined
  /** File of the systemd credential `tmpfiles.extra`. */
  readonly credential: string | undefined
  /** Hash of the identity's public part (`identityDigest`). */
  readonly identity: string
  readonly disks: readonly DomainDisk[]
  readonly mac: string
  readonly outbound: boolean
  readonly forwards: readonly Forward[]
  readonly nics: readonly DomainNic[]
  readonly console: string
  readonly headless: boolean
  readonly extraDevicesXML: string
  readonly extraDomainXML: string
  /**
   * The base image, which must be named. Otherwise libvirt in `qemu:///system` would give the shared image to QEMU's
   * user for good.
   */
  readonly base: { readonly path: string; readonly format: string } | undefined
}

export interface DomainDisk {
  /** Device name: `vda`, `vdb` … */
  readonly dev: string
  readonly path: string
  readonly format: 'qcow2' | 'raw'
  readonly serial?: string | undefined
  readonly readonly?: boolean | undefined
}

export type DomainNic =
  | { readonly kind: 'lan'; readonly mac: string; readonly group: string; readonly port: number }
  | { readonly kind: 'network' | 'bridge'; readonly mac: string; readonly source: string }

/** Name of the firmware file that systemd reads as the credential `tmpfiles.extra`. */
export const credentialName = 'opt/io.systemd.credentials/tmpfiles.extra'

/** Namespace of hydra-ops's mark in a domain's metadata. */
export const markUri = 'urn:hydra-ops:deployment:1'

/** Hashes every part that reaches the guest only at a start. */
export function specDigest(spec: DomainSpec, place: (path: string) => string = (path) => path): string {
  return createHash('sha256')
    .update(JSON.stringify(mapTexts({ ...spec, forwards: [] }, place)))
    .digest('hex')
    .slice(0, 16)
}
