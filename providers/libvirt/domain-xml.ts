import { XMLBuilder, XMLValidator } from 'fast-xml-parser'
import { usageError } from '../../src/core/errors.js'
import { shortName } from '../common/names.js'
import { credentialName, type DomainDisk, type DomainSpec, markUri, specDigest } from './domain-spec.js'
import { nativeNic, qemuArguments } from './network.js'

const qemuUri = 'http://libvirt.org/schemas/domain/qemu/1.0'

export function buildDomainXml(spec: DomainSpec): string {
  const builder = new XMLBuilder({
    ignoreAttributes: false,
    attributeNamePrefix: '@',
    format: true,
    suppressEmptyNode: true,
    suppressBooleanAttributes: false,
  })
  const text: string = builder.build({ domain: domainOf(spec) })
  requireWellFormed('extraDevicesXML', spec.extraDevicesXML, spec.machine)
  requireWellFormed('extraDomainXML', spec.extraDomainXML, spec.machine)
  return insertBefore(
    insertBefore(text, '</devices>', spec.extraDevicesXML),
    '</domain>',
    spec.extraDomainXML,
  )
}

function domainOf(spec: DomainSpec): object {
  return {
    '@type': spec.type,
    '@xmlns:qemu': qemuUri,
    name: spec.name,
    uuid: spec.uuid,
    title: shortName(spec.deployment, spec.machine),
    metadata: {
      'ho:deployment': {
        '@xmlns:ho': markUri,
        '@uuid': spec.deployment,
        '@machine': spec.machine,
        '@spec': specDigest(spec),
      },
    },
    memory: { '@unit': 'MiB', '#text': spec.memoryMiB },
    vcpu: spec.vcpu,
    ...(spec.credential === undefined ? {} : { sysinfo: credentialEntry(spec.credential) }),
    os: {
      type: { '@arch': 'x86_64', '@machine': 'q35', '#text': 'hvm' },
      ...defined({ kernel: spec.kernel, initrd: spec.initrd, cmdline: spec.cmdline }),
      ...(spec.kernel === undefined ? { boot: { '@dev': 'hd' } } : {}),
    },
    features: { acpi: {}, apic: {} },
    cpu: cpuOf(spec),
    clock: { '@offset': 'utc' },
    on_poweroff: 'destroy',
    on_reboot: 'restart',
    on_crash: 'destroy',
    devices: devicesOf(spec),
    'qemu:commandline': { 'qemu:arg': qemuArguments(spec).map((value) => ({ '@value': value })) },
  }
}

/**
 * Refers to the credential by its path, because every user of this host can read the XML and QEMU's arguments.
 */
function credentialEntry(file: string): object {
  return {
    '@type': 'fwcfg',
    entry: { '@name': credentialName, '@file': file },
  }
}

/**
 * Disables features that cost seconds at boot under emulation and have no benefit: five-level page tables (la57)
 * and nested virtualisation (svm).
 */
function cpuOf({ type }: DomainSpec): object {
  return type === 'kvm'
    ? { '@mode': 'host-passthrough' }
    : {
        '@mode': 'maximum',
        feature: ['la57', 'svm'].map((name) => ({ '@policy': 'disable', '@name': name })),
      }
}

function devicesOf(spec: DomainSpec): object {
  const native = spec.nics.flatMap((nic) => (nic.kind === 'lan' ? [] : [nativeNic(nic)]))
  return {
    disk: spec.disks.map((disk) => diskElement(disk, disk.dev === 'vda' ? spec.base : undefined)),
    controller: { '@type': 'usb', '@model': 'none' },
    ...(native.length === 0 ? {} : { interface: native }),
    serial: {
      '@type': 'pty',
      log: { '@file': spec.console, '@append': 'on' },
      target: { '@port': 0 },
    },
    console: { '@type': 'pty', target: { '@type': 'serial', '@port': 0 } },
    rng: { '@model': 'virtio', backend: { '@model': 'random', '#text': '/dev/urandom' } },
    memballoon: { '@model': 'none' },
    ...(spec.headless
      ? {}
      : {
          graphics: { '@type': 'vnc', '@autoport': 'yes', '@listen': '127.0.0.1' },
          video: { model: { '@type': 'vga' } },
        }),
  }
}

function diskElement(disk: DomainDisk, base: DomainSpec['base']): object {
  return {
    '@type': 'file',
    '@device': 'disk',
    driver: { '@name': 'qemu', '@type': disk.format, '@cache': 'writeback', '@discard': 'unmap' },
    source: { '@file': disk.path },
    ...(base === undefined ? {} : { backingStore: backingStore(base) }),
    target: { '@dev': disk.dev, '@bus': 'virtio' },
    ...defined({ serial: disk.serial }),
    ...(disk.readonly === true ? { readonly: {} } : {}),
  }
}

function backingStore(base: NonNullable<DomainSpec['base']>): object {
  return {
    '@type': 'file',
    format: { '@type': base.format },
    source: { '@file': base.path, seclabel: { '@model': 'dac', '@relabel': 'no' } },
    backingStore: {},
  }
}

function defined(values: Readonly<Record<string, string | undefined>>): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}

/** Validates the text inside a separate element, so that a surplus closing tag is an error. */
function requireWellFormed(option: string, xml: string, machine: string): void {
  const result = XMLValidator.validate(`<extra xmlns:qemu="${qemuUri}">${xml}</extra>`)
  if (result === true) return
  throw usageError(
    `machine '${machine}': deployment.libvirtd.${option} is not valid XML: ${result.err.msg}`,
    { machine },
  )
}

function insertBefore(text: string, closing: string, addition: string): string {
  const at = text.lastIndexOf(closing)
  return addition === '' ? text : `${text.slice(0, at)}${addition}\n${text.slice(at)}`
}
